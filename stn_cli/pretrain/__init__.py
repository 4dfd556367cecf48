"""Training of encoders on pictures without boxes."""
