"""Where the object may be in each image, how large, and which hypothesis to believe."""
