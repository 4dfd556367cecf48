"""Folders of more images than the search looks at: are all of them labelled and learnt from, at what time and memory?

    python -m benchmarks.large_folders [PART ...]

digits: CorLoc and time of 100 and of 2,000 cluttered digits made from MNIST. hammers: CorLoc of 120 photographs of a hammer and of 600, over
all of its own and over those in both. cells: CorLoc of micrographs of which every second one is searched. clamps: of crops of one size, of
which a quarter is searched. memory: peak memory of training on 2,000 and on 20,000 images. Parts that are named are measured again, the
others are taken from an earlier run. Seconds are of the processor, in the training's process with one thread, so that other programs do
not count; anonymous memory is what cannot be read again from a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, SHARED, chosen, corloc, need, timed
from benchmarks.provenance import LEARNING, begin, earlier, save
from benchmarks.scenes import write_scenes

DATA = SHARED / "data"
QUICK = {"imgsz": 48, "steps": 50, "finetune": 5}
"""The memory's trial: everything but the length and the size of the pictures is as usual."""


class Watch(threading.Thread):
    """The process's largest anonymous memory, looked at twenty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0

    def run(self) -> None:
        """Look, for ever."""
        while True:
            status = Path("/proc/self/status").read_text()
            self.most = max(self.most, next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")))
            time.sleep(0.05)


def worker(source: str, run: str, settings: str) -> None:
    """Train in this process and print what it took, as JSON."""
    import resource

    from stn_cli.coloc.train.run import train
    from stn_cli.runs.config import TrainConfig
    from stn_cli.runtime.progress import Silent

    class Clock(Silent):
        def __init__(self) -> None:
            self.at: dict[str, float] = {}

        def stage(self, name: str, total: int | None) -> None:
            self.at.setdefault(name, time.process_time())

    watch, clock = Watch(), Clock()
    watch.start()
    train(source, run, TrainConfig(**json.loads(settings)), reporter=clock)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "decoding": round(clock.at["search"] - clock.at["decode"], 1),
        "after_decoding": round(time.process_time() - clock.at["search"], 1),
        "search": round(clock.at["regression"] - clock.at["search"], 1),
        "anonymous_mb": watch.most // 1024,
        "resident_mb": usage.ru_maxrss // 1024,
    }
    print(json.dumps(found))


def measured(source: Path, folder: Path, truth: list[Path], **settings: Any) -> dict[str, Any]:
    """Train on a folder in a process of its own; CorLoc by each truth file."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.large_folders",
        "worker",
        str(source),
        str(folder / "run"),
        json.dumps(settings),
    ]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other burn time
    row: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=alone).stdout)
    if truth:
        timed([*PROGRAM, "localise", "-q", "-m", str(folder / "run"), "-o", str(folder / "boxes")])
        row["corloc"] = [corloc(folder / "boxes" / "boxes.json", t) for t in truth]
    return row


def digits(folder: Path) -> dict[str, Any]:
    """2,000 scenes of one digit against the first 100."""
    rows = {}
    for count in (100, 2000):
        here = folder / str(count)
        write_scenes(here, [8], count=count)
        rows[str(count)] = measured(here / "images", here, [here / "boxes.json"])
    ratio = rows["2000"]["after_decoding"] / rows["100"]["after_decoding"]
    return {**rows, "time_ratio": round(ratio, 2)}


def hammers(folder: Path) -> dict[str, Any]:
    """600 photographs against 120; CorLoc of each over all of its own, and over those that are in both."""
    small, large = DATA / "photos" / "foda_hammer", DATA / "photos_large" / "foda_hammer"
    need(large)
    truth = json.loads((large / "boxes.json").read_text())
    both = folder / "both.json"
    both.write_text(json.dumps({n: b for n, b in json.loads((small / "boxes.json").read_text()).items() if n in truth}))
    rows = {}
    for source in (small, large):
        here = folder / str(len(list((source / "images").iterdir())))
        here.mkdir()
        rows[here.name] = measured(source / "images", here, [source / "boxes.json", both])
    return rows


def cells(folder: Path) -> dict[str, Any]:
    """All 120 micrographs searched, and 60 of them."""
    source = DATA / "photos" / "bccd_wbc"
    need(source)
    rows = {}
    for searched in (120, 60):
        here = folder / str(searched)
        here.mkdir()
        rows[str(searched)] = measured(source / "images", here, [source / "boxes.json"], search_images=searched)
    return rows


def clamps(folder: Path) -> dict[str, Any]:
    """A thing whose crops all have one size: all 100 photographs searched, and 25 of them."""
    source = DATA / "photos" / "foda_clamp"
    need(source)
    rows = {}
    for searched in (100, 25):
        here = folder / str(searched)
        here.mkdir()
        settings = {"search_images": searched, "transform": "fixed_attention"}
        rows[str(searched)] = measured(source / "images", here, [source / "boxes.json"], **settings)
    return rows


def memory(folder: Path) -> dict[str, Any]:
    """Small pictures under many names, 500 scenes that are linked again and again; the search that labels slowly has a quarter of them."""
    write_scenes(folder / "made", [8], count=500)
    made = sorted((folder / "made" / "images").iterdir())
    rows: dict[str, Any] = {}
    for search, counts in {"auto": (2000, 20000), "deformable": (500, 5000)}.items():
        for count in counts:
            here = folder / search / str(count)
            (here / "images").mkdir(parents=True)
            for i in range(count):
                os.link(made[i % len(made)], here / "images" / f"{i:05d}.png")
            rows[f"{search} {count}"] = measured(here / "images", here, [], **QUICK, search=search)
        few, many = (rows[f"{search} {count}"] for count in counts)
        rows[f"{search} ratios"] = {name: round(many[name] / few[name], 3) for name in ("anonymous_mb", "resident_mb")}
    return rows


PARTS = {"digits": digits, "hammers": hammers, "cells": cells, "clamps": clamps, "memory": memory}


def main() -> None:
    if sys.argv[1:2] == ["worker"]:
        worker(*sys.argv[2:])
        return
    names = chosen(__doc__, "PART", PARTS)
    need(DATA)
    rows = earlier("large_folders")
    begin()
    for number, part in enumerate(names, 1):
        with tempfile.TemporaryDirectory() as temporary:
            rows[part] = PARTS[part](Path(temporary))
        save("large_folders", {"sets": {p: rows[p] for p in PARTS if p in rows}}, LEARNING, rows=names[:number])
        for name, row in rows[part].items():
            print(f"{part:8} {name:14} {row}", flush=True)


if __name__ == "__main__":
    main()
