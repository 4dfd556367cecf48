"""The training of a run, stage by stage."""
