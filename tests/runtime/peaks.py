"""What stages of the search hold at their peaks, in a process of its own; prints it and which large libraries were loaded, as JSON.

    python -m tests.runtime.peaks

Large blocks are mapped one by one (`MALLOC_MMAP_THRESHOLD_`), so that what glibc keeps of freed memory is not counted.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import stn_cli.coloc.model.localiser
import stn_cli.coloc.train.run  # noqa: F401
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.dense import DenseSearch, look_closely
from stn_cli.coloc.search.square_windows import SquareWindows
from stn_cli.encoders import Appearance, WindowMap
from stn_cli.runtime.memory import hand_back
from stn_cli.runtime.suppression import nms

LARGE = ("torchvision", "torch._dynamo", "sympy")


def resident(which: str) -> int:
    """Bytes of this process's memory: VmRSS now, VmHWM at most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(which))


def forget_peak() -> int:
    hand_back()
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def peak_of(work: Callable[[int], int]) -> float:
    """How much memory work on 64 images takes at its peak, in units of the bytes that it says it keeps; libraries are loaded before."""
    torch.manual_seed(0)
    work(2)
    before = forget_peak()
    kept = work(64)
    return (resident("VmHWM") - before) / kept


class Wide:
    """An encoder of many channels."""

    dense = True

    def appearance(self, images: torch.Tensor, pad: int = 0, objectness: bool = True) -> Appearance:
        return Appearance(torch.rand(len(images), 256, 12, 12))


def features(count: int) -> int:
    rectangles = torch.tensor([[-1.0, -1, 1, 1]]).expand(count, 4)
    appearance = look_closely(Wide(), Scene(torch.rand(count, 3, 16, 16), rectangles), 16)  # type: ignore[arg-type]
    DenseSearch.of(appearance, rectangles)
    return appearance.cells.nbytes


def windows(count: int) -> int:
    cells, left = torch.rand(count, 12, 40, 40), torch.arange(37.0)
    places = len(left) ** 2
    inside = torch.ones(count, places, dtype=torch.bool)
    found = SquareWindows([WindowMap(cells, 1, 1, left)], torch.zeros(places, 2), torch.zeros(places), 0.2, inside, 1.0)
    found.normalise()
    for part, embedded in found.parts():
        found.margin_terms(part, embedded)
    return sum(embedded.nbytes for _, embedded in found.parts())


if __name__ == "__main__":
    nms(torch.zeros(2, 4), torch.zeros(2), 0.5)
    loaded = [name for name in LARGE if name in sys.modules]
    print(json.dumps({"loaded": loaded, "features": peak_of(features), "windows": peak_of(windows)}))
