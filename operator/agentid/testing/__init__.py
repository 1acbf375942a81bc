"""Fakes, a manual clock and a throwaway CA, shipped so that others can test with them too."""
