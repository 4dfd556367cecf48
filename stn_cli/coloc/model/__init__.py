"""The trained model: the finder, and a run ready to use."""
