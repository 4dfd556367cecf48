"""Find the common object of a folder of images, without labels."""

__version__ = "0.1.0"
