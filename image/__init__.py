"""What the Dockerfile runs to put the image together."""
