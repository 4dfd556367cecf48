"""Scores of boxes against truth: CorLoc, IoU, average precision, recall and precision."""

from stn_cli.evaluate.boxes import HEADER, Evaluation, ImageScore, score_boxes, score_json, write_per_image
from stn_cli.formats.truth import Truth, read_truth

__all__ = ["HEADER", "Evaluation", "ImageScore", "Truth", "read_truth", "score_boxes", "score_json", "write_per_image"]
