"""The thing through frames: what a trained run or a first box says it is, followed, lost, and found again."""
