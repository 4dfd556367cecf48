"""The paper's appendix A.2: co-localise digits, translated (T) and in clutter (TC); default settings, nothing told.

    python -m benchmarks.digits [SET ...]

Sets that are named are measured again; the summary takes the others from the results of an earlier run.

For each set: CorLoc on its own 100 images, and on 100 new images of the same digit that were not in training; time and memory of the
whole training process.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, SHARED, chosen, corloc, need, timed
from benchmarks.provenance import LEARNING, begin, earlier, save
from benchmarks.scenes import write_digits

SETS = [f"{kind}{digit}" for kind in ("T", "TC") for digit in range(10)]


def main() -> None:
    names = chosen(__doc__, "SET", SETS)
    need(SHARED / "data" / "digits")
    rows = earlier("digits")
    begin()
    print(f"{'set':5} {'CorLoc':>7} {'new':>7} {'seconds':>8} {'GB':>5}")
    for number, name in enumerate(names, 1):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            source = SHARED / "data" / "digits" / name
            seconds, memory = timed([*PROGRAM, "train", str(source / "images"), "-q", "-o", str(folder / "run")])
            localise = [*PROGRAM, "localise", "-q", "-m", str(folder / "run")]
            timed([*localise, "-o", str(folder / "own")])
            write_digits(folder / "new", int(name[-1]), clutter=16 if name.startswith("TC") else 0)
            timed([*localise, str(folder / "new/images"), "-o", str(folder / "other")])
            rows[name] = {
                "corloc": corloc(folder / "own/boxes.json", source / "boxes.json"),
                "corloc_new": corloc(folder / "other/boxes.json", folder / "new/boxes.json"),
                "seconds": round(seconds, 1),
                "gigabytes": round(memory, 2),
            }
        save("digits", {"sets": {n: rows[n] for n in SETS if n in rows}}, LEARNING, rows=names[:number])
        r = rows[name]
        print(f"{name:5} {r['corloc']:7.0f} {r['corloc_new']:7.0f} {r['seconds']:8.1f} {r['gigabytes']:5.2f}", flush=True)
    for kind in ("T", "TC"):
        own = [r for n, r in rows.items() if n.rstrip("0123456789") == kind]
        if own:
            mean = {k: sum(r[k] for r in own) / len(own) for k in own[0]}
            least = min(r["corloc"] for r in own)
            print(
                f"{kind}: mean {mean['corloc']:.1f} (least {least:.0f}), new {mean['corloc_new']:.1f}, "
                f"{mean['seconds']:.0f} s (most {max(r['seconds'] for r in own):.0f}), {mean['gigabytes']:.2f} GB"
            )


if __name__ == "__main__":
    main()
