"""What many identities cost: the same life for a thousand, for three, for ten and for more."""
