"""Co-localisation: find the common object of a set of images (paper, appendix A.2)."""
