"""A training beside other programs: how many times as long it takes as alone, beside one and beside two loops that never rest.

    python -m benchmarks.busy [--rounds 3] [--images 20] [--shared]

The first images of sample_data/cups are trained on by the command line: as it is; as it was before its threads slept while they wait (GNU's
library spins 300,000 times then); and with one thread. Each alone, beside one loop and beside two, in turn; the least of all rounds counts,
as the others were disturbed. Whole processes are timed. What else runs on the machine counts as a loop does: look at the load that it says.

`localise`, its network alone, is measured in the same way, by images for each second: as it is, where each thread looks at images of
its own; with threads that share the images of a call, as before; and with one thread.

With --shared other work runs on the machine, which the program cannot tell from equals. What it would choose without that work is then asked
for: a thread for each core, less the loops. All is run in real time (chrt, which needs the right to it), which the other work does not disturb.
Real-time programs on one core take turns of a tenth of a second, which no desk or server does: as many loops as cores are not measured then, and
the way that spins alone only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, parser
from benchmarks.provenance import LEARNING, ROOT, begin, cores, save
from stn_cli.runtime.threads import WAITING, use_threads, watch_cores

WAYS: dict[str, tuple[dict[str, str], list[str]]] = {
    "now": ({}, []),
    "spinning": ({"GOMP_SPINCOUNT": "300000"}, []),
    "one thread": ({}, ["--threads", "1"]),
}
"""Environment and flags of each way to train."""
LOOKS = ("own images", "shared", "one thread")
COPIES = 16
"""How often each image is looked at."""
SHORT = ("--steps", "40", "--imgsz", "96", "--search", "deformable")
LOOPS = (0, 1, 2)
REAL_TIME = ("chrt", "--rr", "5")
OURS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@contextmanager
def busy(count: int, before: Sequence[str]) -> Iterator[None]:
    """So many loops that never rest; what stands before their command says how they are run."""
    loops = [subprocess.Popen([*before, sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def seconds(images: Path, out: Path, way: str, loops: int, shared: bool) -> float:
    """Of one training, the whole process."""
    extra, flags = WAYS[way]
    if shared and way == "now":
        flags = ["--threads", str(max(1, cores() - loops))]
    if shared and way == "spinning":
        flags = ["--threads", str(cores())]
    env = {name: value for name, value in os.environ.items() if name not in OURS} | extra
    command = [*PROGRAM, "train", str(images), "-q", "--no-report", "-o", str(out), "--overwrite", *SHORT, *flags]
    before = REAL_TIME if shared else ()
    with busy(loops, before):
        begun = time.perf_counter()
        subprocess.run([*before, *command], check=True, stdout=subprocess.DEVNULL, env=env)
        return time.perf_counter() - begun


def look(run: str, source: str, way: str) -> None:
    """Print how many images a run looks at in a second, and in how many threads: in a process of its own."""
    watch_cores()
    import torch

    from stn_cli.coloc.model.localiser import IMAGES_PER_CALL, Localiser
    from stn_cli.coloc.model.many import localise_loaded, localise_many
    from stn_cli.media.cache import load_letterbox
    from stn_cli.media.scan import scan

    use_threads(1 if way == "one thread" else None)
    localiser = Localiser.load(run, "cpu")
    loaded = [load_letterbox(file, localiser.letterbox) for file in scan(source).images] * COPIES
    for some in (loaded[:24], loaded):  # the first look is not timed
        begun = time.perf_counter()
        if way == "shared":
            localise_loaded(localiser, some, None, IMAGES_PER_CALL)
        else:
            list(localise_many(localiser, iter(some), None, IMAGES_PER_CALL))
    print(len(loaded) / (time.perf_counter() - begun), torch.get_num_threads())


def looks(run: Path, images: Path, rounds: int) -> dict[str, list[float]]:
    """Images a second of each way to look, alone and beside loops; the most of all rounds."""
    rates: dict[str, list[float]] = {way: [0.0 for _ in LOOPS] for way in LOOKS}
    env = {name: value for name, value in os.environ.items() if name not in OURS} | WAITING
    for number in range(rounds):
        for loops in LOOPS:
            for way in LOOKS:
                with busy(loops, ()):
                    words = [sys.executable, "-m", "benchmarks.busy", "look", str(run), str(images), way]
                    out = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout
                rates[way][loops] = max(rates[way][loops], float(out.split()[0]))
                print(f"round {number + 1}, localise, {way}, {loops} beside it: {out.strip()}", flush=True)
    return rates


def main() -> None:
    if sys.argv[1:2] == ["look"]:
        look(*sys.argv[2:])
        return
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--images", type=int, default=20)
    options.add_argument("--shared", action="store_true", help="threads are asked for, see above")
    given = options.parse_args()
    begin()
    times: dict[str, dict[int, list[float]]] = {way: {loops: [] for loops in LOOPS} for way in WAYS}
    with tempfile.TemporaryDirectory() as temporary:
        images, out = Path(temporary) / "images", Path(temporary) / "run"
        images.mkdir()
        for path in sorted((ROOT / "sample_data/cups/images").iterdir())[: given.images]:
            shutil.copy(path, images)
        for number in range(given.rounds):
            for loops in LOOPS:
                for way in WAYS:
                    if given.shared and (loops >= cores() or (loops and way == "spinning")):
                        continue
                    times[way][loops].append(seconds(images, out, way, loops, given.shared))
                    print(f"round {number + 1}, {way}, {loops} beside it: {times[way][loops][-1]:.1f} s", flush=True)
        rates = {} if given.shared else looks(out, images, given.rounds)
    alone = min(times["spinning"][0])
    rows: dict[str, Any] = {}
    for way, of in times.items():
        least = [min(of[loops]) for loops in LOOPS if of[loops]]
        rows[way] = {
            "seconds": [round(value, 2) for value in least],
            "ratios": [round(value / least[0], 3) for value in least],
            "alone": round(least[0] / alone, 3),
        }
        print(
            f"{way}: alone {least[0]:.1f} s, {rows[way]['alone']:.2f} of the spinning one's; beside loops {rows[way]['ratios'][1:]} times that"
        )
    save(
        "busy",
        {"images": given.images, "rounds": given.rounds, "shared": given.shared, "ways": rows, "localise": rates},
        (*LEARNING, "stn_cli/runtime"),
    )


if __name__ == "__main__":
    main()
