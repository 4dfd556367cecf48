"""From files to uint8 tensors in the upright frame: the only place that reads image bytes."""
