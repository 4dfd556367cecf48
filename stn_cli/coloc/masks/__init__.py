"""Masks: which pixels of a found box are the object's."""
