"""From a source to files: what the commands do."""
