"""Results folders and single files: what this tool wrote, and nothing else, may be replaced by it."""
