"""Scorers: how much more a crop is like the object than like a random patch, and what that is worth as a score."""
