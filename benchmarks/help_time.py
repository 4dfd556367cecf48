"""`stn-coloc --help` beside `python -c "import typer"`: the ratio of their times.

python -m benchmarks.help_time
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.provenance import STARTING, begin, save

ROUNDS = 30


def fastest(command: list[str]) -> float:
    """Seconds of the fastest of some runs: the others were disturbed."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begun)
    return min(times)


def main() -> None:
    parser(__doc__).parse_args()
    script = Path(sys.executable).with_name("stn-coloc")
    ours = fastest([str(script), "--help"])
    typer = fastest([sys.executable, "-c", "import typer"])
    begin()
    print(f"stn-coloc --help {ours * 1000:.0f} ms, import typer {typer * 1000:.0f} ms, ratio {ours / typer:.2f}")
    save("help_time", {"help_seconds": ours, "typer_seconds": typer, "ratio": ours / typer}, STARTING, seeds=())


if __name__ == "__main__":
    main()
