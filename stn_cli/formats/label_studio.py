"""Label Studio: tasks with pre-annotations, and the configuration of a project that takes them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from stn_cli.files import name_in_results
from stn_cli.formats.labels import OBJECT
from stn_cli.formats.text_target import TextTarget
from stn_cli.records import ImageRecord, Localisation
from stn_cli.version import __version__

LOCAL_FILES = "/data/local-files/?d="
"""Before a file's path below the folder that Label Studio's LOCAL_FILES_DOCUMENT_ROOT names."""


class LabelStudioWriter:
    """`boxes.label-studio.json`: a task for each image, with one prediction that has all of its boxes; one annotation where a person has
    looked at them.

    Boxes are in percent of the upright image, as Label Studio's rectangles are. The prediction's score is that of its worst box, so that
    tasks sorted by it begin with the doubtful ones; it is 0 where nothing was found.

    Args:
        path: the target.
        names: of the kinds of objects.
    """

    def __init__(self, path: Path, names: Sequence[str] = (OBJECT,)) -> None:
        self._names = names
        self._tasks = 0
        self._target = TextTarget(path)
        self._target.write("[\n")

    def add(self, record: ImageRecord, **more: str) -> None:
        """Write one image and its objects.

        Args:
            record: the image; its name is its path below Label Studio's document root.
            more: of the task's data.
        """
        name = name_in_results(record.file)
        results = [self._result(found, number) for number, found in enumerate(record.objects, 1)]
        score = min((found.score for found in record.objects), default=0.0)
        data = {"image": LOCAL_FILES + quote(name), "file": name, "score": score, **more}
        task: dict[str, Any] = {"data": data}
        if record.reviewed:
            task["annotations"] = [{"result": results, "was_cancelled": False, "ground_truth": False}]
        else:
            task["predictions"] = [{"model_version": f"stn-coloc {__version__}", "score": score, "result": results}]
        self._target.write(",\n" if self._tasks else "")
        self._target.write(json.dumps(task, allow_nan=False))
        self._tasks += 1

    def _result(self, found: Localisation, number: int) -> dict[str, Any]:
        x1, y1, x2, y2 = found.box
        across, down = 100 / found.width, 100 / found.height
        place = {
            "x": _cut(x1 * across),
            "y": _cut(y1 * down),
            "width": _cut((x2 - x1) * across),
            "height": _cut((y2 - y1) * down),
        }
        return {
            "id": f"box{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": found.width,
            "original_height": found.height,
            "image_rotation": 0,
            "score": found.score,
            "value": {**place, "rotation": 0, "rectanglelabels": [self._names[found.kind]]},
        }

    def close(self) -> None:
        """Put the file in place."""
        self._target.write("\n]\n")
        self._target.close()

    def abandon(self) -> None:
        """Remove the temporary file."""
        self._target.abandon()


def _cut(percent: float) -> float:
    """Six decimals, never rounded up: a box whose place and side add up to a hair more than 100 is refused."""
    return math.floor(percent * 1e6) / 1e6


def labelling_interface(names: Sequence[str]) -> str:
    """The labelling interface of a project that the tasks fit into, to paste under Settings, Labeling Interface, Code.

    Args:
        names: of the kinds of objects.

    Returns:
        XML.
    """
    labels = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in names)
    image = '  <Image name="image" value="$image"/>'
    return f'<View>\n{image}\n  <RectangleLabels name="label" toName="image">\n{labels}\n  </RectangleLabels>\n</View>\n'
