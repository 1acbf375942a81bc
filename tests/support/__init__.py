"""What integration tests share: looking at a cluster as somebody outside the operator would."""
