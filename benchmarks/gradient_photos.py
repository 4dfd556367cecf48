"""Photographs with the `gradient` encoder, which has no weights: CorLoc on the development sets.

    python -m benchmarks.gradient_photos [SET ...]

Beside it the best centred box of one size, which knows the truth: a hard baseline where photographers centre their subject.
Also CorLoc of the better-scored half of each set and of the rest: what the score is worth.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import OLD_SETS, PHOTOS, PROGRAM, chosen, corloc, need, timed
from benchmarks.detections import best_centred_box
from benchmarks.provenance import LEARNING, begin, earlier, save
from stn_cli.evaluate import score_boxes


def main() -> None:
    names = chosen(__doc__, "SET", OLD_SETS)
    need(PHOTOS)
    rows = earlier("gradient_photos")
    begin()
    print(f"{'set':16} {'CorLoc':>7} {'centred':>8} {'best half':>10} {'rest':>6} {'seconds':>8} {'GB':>5}")
    for number, name in enumerate(names, 1):
        source = PHOTOS / name
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            command = [*PROGRAM, "train", str(source / "images"), "--encoder", "gradient", "-q", "-o", str(folder / "run")]
            seconds, memory = timed(command)
            timed([*PROGRAM, "localise", "-q", "-m", str(folder / "run"), "-o", str(folder / "boxes")])
            boxes = folder / "boxes/boxes.json"
            best, rest = score_boxes(boxes, source / "boxes.json").best_half()
            rows[name] = {
                "corloc": corloc(boxes, source / "boxes.json"),
                "centred": best_centred_box(boxes, source / "boxes.json"),
                "best_half": best,
                "rest": rest,
                "seconds": round(seconds, 1),
                "gigabytes": round(memory, 2),
            }
        save("gradient_photos", {"sets": {n: rows[n] for n in OLD_SETS if n in rows}}, LEARNING, rows=names[:number])
        r = rows[name]
        print(
            f"{name:16} {r['corloc']:7.1f} {r['centred']:8.1f} {best:10.1f} {rest:6.1f} {seconds:8.1f} {memory:5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
