"""What every command runs in: its device, its signals, its limits, its progress."""
