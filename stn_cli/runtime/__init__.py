"""What every command runs in: signals."""
