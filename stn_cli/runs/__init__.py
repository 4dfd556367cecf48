"""The run folder: what a training leaves, checked before it is believed."""
