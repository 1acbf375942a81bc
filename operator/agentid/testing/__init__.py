"""Fakes, a manual clock and a throwaway CA, shipped so that users of the library can test with them."""
