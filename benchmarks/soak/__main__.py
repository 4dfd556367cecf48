"""An hour of hard use: what the tool must bear, tried at random and counted.

    python -m benchmarks.soak [PART ...] [--quick] [--seed N] [--case N] [--out FILE] [--page]

Parts: scan (100,000 images), kill (50 SIGKILLs), images and files (10,000 damaged ones of each), video (an hour), disk (full at
random moments). Each part's row takes its place in the result file; --page makes the table of docs/reliability.md from it.
Ends with 1 if a fault was found: each is printed with the command that shows it again, and its files stay in --kept.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a folder

from benchmarks import pages
from benchmarks.common import parser
from benchmarks.provenance import RESULTS, begin
from benchmarks.soak import record
from benchmarks.soak.record import Outcome, Soak

PARTS = ("scan", "kill", "images", "files", "video", "disk")


def main() -> int:
    options = parser(__doc__)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all when left out")
    options.add_argument("--quick", action="store_true", help="a few of everything, about a minute and a half")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--case", type=int, help="only this one case")
    options.add_argument("--out", type=Path, help="result file; benchmarks/results/soak.json, none with --quick or --case")
    options.add_argument("--page", action="store_true", help="write the table of docs/reliability.md from the result file")
    options.add_argument("--kept", type=Path, default=Path("soak-faults"), help="folder for the files of cases that failed")
    options.add_argument(
        "--work", type=Path, help="folder for what is made (some GB); the system's temporary one when left out"
    )
    given = options.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        options.error(f"no such part: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    out = given.out or (None if given.quick or given.case is not None else RESULTS / "soak.json")
    begin()
    faults = 0
    for part in given.parts or PARTS:
        work = Path(tempfile.mkdtemp(prefix=f"soak-{part}-", dir=given.work))
        soak = Soak(given.quick, given.seed, work, given.kept.absolute(), given.case)
        try:
            outcome = _run(part, soak)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        faults += outcome.bad
        print(f"{part:8}{outcome.count:8,} cases {outcome.bad:4} faults {outcome.seconds:7.0f} s   {outcome.done}")
        if out is not None:
            record.save(out, outcome, soak)
    if given.page:
        pages.write()
    return 1 if faults else 0


def _run(part: str, soak: Soak) -> Outcome:
    outcome = Outcome(part)
    with outcome.timed():
        importlib.import_module(f"benchmarks.soak.{part}").run(soak, outcome)
    return outcome


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # many processes, few cores
    sys.exit(main())
