"""How many actions of a hand twenty boxes take in `stn-coloc review`, and how long the page takes over them.

    python -m benchmarks.review_actions [--set SET] [--run RUN]      # needs Chromium (apt install chromium) and pip install '.[test]'

A simulated person knows the truth, opens the first image by Enter and goes through them as the page shows them, most doubtful first. A box
that overlaps a true one by an IoU of 0.7 stays. One by 0.4 is selected (Tab) and its corners are dragged, two at most; a corner whose edges
lie within 3 % of the true box's sides stays. Boxes that are left then are selected and deleted, true boxes that are left are drawn by one drag,
with Shift. A goes on. It ends when twenty boxes were dragged or drawn. An action is a key, or a drag; the seconds are those from each action
until the page shows it as saved, or the next image: the time of eye and hand is not in them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PHOTOS, PROGRAM, need, parser
from benchmarks.photo_table import SETS
from benchmarks.provenance import REVIEWING, ROOT, begin, save, version

BOXES = 20
RIGHT, NEAR, EDGE = 0.7, 0.4, 0.03
Box = list[float]


def iou(a: Box, b: Box) -> float:
    w, h = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    union = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - w * h
    return w * h / union


def corners_to_drag(box: Box, true: Box) -> list[tuple[int, int]]:
    """Which corners are dragged, by the places of their x and y in a box: at most two, opposite ones."""
    sides = [EDGE * (true[2] - true[0]), EDGE * (true[3] - true[1])] * 2
    off = {i for i in range(4) if abs(box[i] - true[i]) > sides[i]}
    if not off:
        return []
    single = next((c for c in ((0, 1), (2, 1), (0, 3), (2, 3)) if off <= set(c)), None)
    return [single] if single else [(0, 1), (2, 3)]


@dataclass
class Hand:
    """A person at the page, who counts."""

    page: Any
    actions: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def until(self, script: str) -> None:
        begun = time.perf_counter()
        while not self.page.evaluate(script):
            self.page.wait_for_timeout(2)
        self.seconds += time.perf_counter() - begun

    def settled(self) -> None:
        """Wait until all is saved, and the image can be seen or the list has ended."""
        self.until("document.querySelector('#saved').textContent === 'saved' && !document.querySelector('#accept').disabled")

    def key(self, key: str, name: str) -> None:
        self.actions[name] += 1
        self.page.keyboard.press(key)
        self.settled()

    def point(self, x: float, y: float) -> tuple[float, float]:
        frame = self.page.locator("#picture").bounding_box()
        size = self.page.evaluate("[picture.naturalWidth, picture.naturalHeight]")
        return frame["x"] + x * frame["width"] / size[0], frame["y"] + y * frame["height"] / size[1]

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.actions["drags"] += 1
        mouse = self.page.mouse
        mouse.move(*self.point(*start))
        mouse.down()
        mouse.move(*self.point((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
        mouse.move(*self.point(*end))
        mouse.up()
        self.settled()

    def boxes(self) -> list[Box]:
        """Those that are shown, in pixels of the image."""
        left, top = self.point(0, 0)
        right, _ = self.point(1, 0)
        found = self.page.evaluate(
            "[...document.querySelectorAll('#drawing .box')]"
            ".map((box) => box.getBoundingClientRect()).map((r) => [r.left, r.top, r.right, r.bottom])"
        )
        return [[(v - (left, top)[i % 2]) / (right - left) for i, v in enumerate(box)] for box in found]

    def select(self, number: int) -> None:
        script = "[...document.querySelectorAll('#drawing g')].findIndex((g) => g.classList.contains('selected'))"
        for _ in range(len(self.boxes()) + 1):
            if self.page.evaluate(script) == number:
                return
            self.key("Tab", "Tab")

    def correct(self, truth: list[Box]) -> int:
        """Make the boxes of the image that is open the true ones: how many were dragged or drawn."""
        made, left = 0, list(truth)
        shown = self.boxes()
        pairs = sorted(((iou(b, t), n, t) for n, b in enumerate(shown) for t in truth), key=lambda pair: -pair[0])
        kept = dict[int, Box]()
        for overlap, n, true in pairs:
            if overlap >= NEAR and n not in kept and true in left:
                kept[n] = true
                left.remove(true)
        for n, true in kept.items():
            corners = [] if iou(shown[n], true) >= RIGHT else corners_to_drag(shown[n], true)
            if corners:
                self.select(n)
                made += 1
            for x, y in corners:
                box = self.boxes()[n]
                self.drag((box[x], box[y]), (true[x], true[y]))
        for n in sorted(set(range(len(shown))) - set(kept), reverse=True):
            self.select(n)
            self.key("Delete", "Delete")
        for true in left:
            self.page.keyboard.down("Shift")
            self.drag((true[0], true[1]), (true[2], true[3]))
            self.page.keyboard.up("Shift")
        return made + len(left)


def measure(page: Any, address: str, truth: dict[str, list[Box]]) -> dict[str, Any]:
    """Twenty boxes."""
    page.goto(address)
    page.wait_for_selector(".cell.here")
    hand, made, images = Hand(page), 0, 0
    hand.key("Enter", "Enter")
    while made < BOXES:
        made += hand.correct(truth[page.locator("#name").inner_text()])
        images += 1
        hand.key("a", "A")
    actions = dict(hand.actions.most_common())
    return {"images": images, "boxes": made, "actions": sum(actions.values()), "by": actions, "seconds": hand.seconds}


def check(reviewed: dict[str, Any], truth: dict[str, list[Box]], images: int) -> None:
    """See that what came of it is right: else fewer actions were counted than it takes.

    Raises:
        SystemExit: it is not.
    """
    names = {row["id"]: row["file_name"] for row in reviewed["images"] if row["reviewed"]}
    found: dict[str, list[Box]] = {name: [] for name in names.values()}
    for row in reviewed["annotations"]:
        if row["image_id"] in names:
            x, y, w, h = row["bbox"]
            found[names[row["image_id"]]].append([x, y, x + w, y + h])
    good = [
        len(boxes) == len(truth[name]) and all(max(iou(box, true) for box in boxes) >= RIGHT for true in truth[name])
        for name, boxes in found.items()
    ]
    if len(good) != images or not all(good):
        raise SystemExit(f"{sum(good)} of {images} images are right in the end")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--set", choices=SETS, default="kangaroo")
    options.add_argument("--run", type=Path, help="of the set; trained when left out")
    given = options.parse_args()
    need(PHOTOS)
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    begin()
    images, truth = str(PHOTOS / given.set / "images"), json.loads((PHOTOS / given.set / "boxes.json").read_text())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        run, boxes = given.run or Path(folder) / "run", Path(folder) / "boxes"
        if given.run is None:
            subprocess.run([*PROGRAM, "train", images, "-o", str(run), "--no-report", "-q"], cwd=ROOT, check=True)
        subprocess.run([*PROGRAM, "localise", images, "-m", str(run), "-o", str(boxes), "-q"], cwd=ROOT, check=True)
        command = [*PROGRAM, "review", str(boxes), "--no-browser", "--port", "0", "--quiet"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            found = measure(browser.new_page(viewport={"width": 1280, "height": 800}), address, truth)
            named = browser.version
            browser.close()
            process.terminate()
        check(json.loads((boxes / "reviewed.json").read_text()), truth, found["images"])
    print(json.dumps(found))
    libraries = {"chromium": named, "starlette": version("starlette"), "uvicorn": version("uvicorn")}
    save("review_actions", {"set": given.set, "shown": len(truth), **found}, REVIEWING, versions=libraries)


if __name__ == "__main__":
    main()
