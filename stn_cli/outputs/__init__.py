"""Results: this tool replaces what it wrote, and nothing else."""
