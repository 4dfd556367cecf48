"""What wants a GPU."""
