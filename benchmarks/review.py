"""`stn-coloc review` of 5,000 photographs in a real browser: how long its start, its screens, its scrolling and its actions take.

python -m benchmarks.review      # needs Chromium (apt install chromium) and pip install '.[test]'

The photographs are those of sample_data, each under many names. A file of boxes is made for them; nothing is learnt.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, parser
from benchmarks.provenance import REVIEWING, ROOT, begin, save, version

MANY = 5000
SCREENS = 40
ACTIONS = 30
SCROLL = """(pixels) => new Promise((done) => {
  const view = document.querySelector("#scroller"), gaps = [], first = performance.now();
  let last = first;
  requestAnimationFrame(function frame(now) {
    gaps.push(now - last);
    last = now;
    view.scrollTop += pixels;
    if (now - first < 5000) requestAnimationFrame(frame); else done(gaps.slice(1));
  });
})"""
LOADED = """() => {
  const { top, bottom } = document.querySelector("#scroller").getBoundingClientRect();
  const where = (cell) => cell.getBoundingClientRect();
  const seen = [...document.querySelectorAll(".cell")].filter((cell) => where(cell).top < bottom && where(cell).bottom > top);
  return seen.length > 0 && seen.every((cell) => cell.querySelector("img")?.naturalWidth > 0);
}"""


def make_set(folder: Path) -> Path:
    """Five thousand names of the sample photographs, with a box and a score at random for each."""
    from PIL import Image

    photos = sorted((ROOT / "sample_data").glob("*/images/*.jpg"))
    sizes = [Image.open(photo).size for photo in photos]
    rng = random.Random(0)
    (folder / "images").mkdir()
    images, annotations = [], []
    for n in range(MANY):
        name, (w, h) = f"{n:05d}.jpg", sizes[n % len(photos)]
        os.symlink(photos[n % len(photos)], folder / "images" / name)
        images.append({"id": n + 1, "file_name": name, "width": w, "height": h})
        box = [w * 0.2, h * 0.2, w * 0.5, h * 0.5]
        annotations.append({"id": n + 1, "image_id": n + 1, "category_id": 1, "bbox": box, "score": rng.random()})
    categories = [{"id": 1, "name": "object"}]
    path = folder / "boxes.json"
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": annotations}))
    return path


def seconds_until(page: Any, script: str) -> float:
    begun = time.perf_counter()
    while not page.evaluate(script):
        page.wait_for_timeout(2)
    return time.perf_counter() - begun


def measure(page: Any, address: str) -> dict[str, float]:
    """What a person waits for, in milliseconds."""
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(".cell.here")
    seconds_until(page, LOADED)
    first = time.perf_counter() - begun
    gaps = sorted(page.evaluate(SCROLL, 40))
    height = page.evaluate("document.querySelector('#scroller').scrollHeight")
    screens = []
    for n in range(SCREENS):
        page.evaluate("(top) => { document.querySelector('#scroller').scrollTop = top }", height * (n + 0.5) / SCREENS)
        screens.append(seconds_until(page, LOADED))
    return {
        "first_screen_ms": 1000 * first,
        "frame_median_ms": statistics.median(gaps),
        "frame_95_ms": gaps[int(0.95 * len(gaps))],
        "screen_median_ms": 1000 * statistics.median(screens),
        "screen_max_ms": 1000 * max(screens),
        "action_ms": action(page, lambda: page.keyboard.press("x")),
    }


def action(page: Any, do: Callable[[], None]) -> float:
    """From a key to what is on disk and shown as done, median."""
    page.evaluate("document.querySelector('#scroller').scrollTop = 0")
    page.keyboard.press("Home")
    seconds_until(page, LOADED)
    times = []
    for _ in range(ACTIONS):
        begun = time.perf_counter()
        do()
        seconds_until(page, "() => document.querySelector('#saved').textContent === 'saved'")
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def main() -> None:
    parser(__doc__).parse_args()
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    begin()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        boxes = make_set(Path(folder))
        begun = time.perf_counter()
        command = [*PROGRAM, "review", str(boxes), "--no-browser", "--port", "0", "--quiet"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            started = time.perf_counter() - begun
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            found = {"start_ms": 1000 * started, **measure(page, address)}
            named = browser.version
            browser.close()
            status = Path(f"/proc/{process.pid}/status").read_text()
            found["memory_mb"] = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
            process.terminate()
    for name, value in found.items():
        print(f"{name:18} {value:8.1f}")
    libraries = {"chromium": named, "starlette": version("starlette"), "uvicorn": version("uvicorn")}
    save("review", {"images": MANY, **found}, REVIEWING, versions=libraries)


if __name__ == "__main__":
    main()
