"""The paper's own experiments, each printed beside the paper's figures."""
