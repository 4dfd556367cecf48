"""What every command runs in: signals, devices, limits, progress."""
