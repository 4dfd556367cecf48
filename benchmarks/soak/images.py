"""10,000 damaged pictures of every format that is read: decoded, or left out with a reason; no crash, no hang, no other error."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.soak.mutate import damage, pick, right_checksums
from benchmarks.soak.pictures import every_format, resized_header
from benchmarks.soak.pool import run_cases
from benchmarks.soak.record import Outcome, Soak
from stn_cli.media.cache import Letterbox, load_letterbox
from stn_cli.media.decode import Unusable, decode, load
from stn_cli.media.scan import ImageFile

MAX_PIXELS = 25_000_000
CANVAS = 128
LIMIT = 30.0
"""Seconds for a picture, on a busy machine."""
SIDES = (0, 1, 9, 10, 63, 65, 4_900, 5_100, 65_535, 70_000, 2**31 - 1)


class Cases:
    """One damaged picture after another; see `worker`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.seeds = list(every_format().items())
        for _, data in self.seeds:  # what decoders load for the first time is no case's memory
            with suppress(Unusable):
                decode(data)

    def made(self, number: int) -> tuple[str, bytes]:
        """Name and bytes of a case."""
        rng = np.random.default_rng([self.seed, number])
        name, data = self.seeds[number % len(self.seeds)]
        action = rng.random()
        if action < 0.08:
            data = resized_header(name, data, pick(rng, SIDES), pick(rng, SIDES))
        elif action < 0.12:  # the header of one, the body of another
            other = pick(rng, self.seeds)[1]
            at = int(rng.integers(4, 64))
            data = data[:at] + other[at:]
        if action >= 0.04:
            data = damage(rng, data)
        return name, right_checksums(data) if name.endswith(".png") and rng.random() < 0.8 else data

    def run(self, number: int) -> str:
        """Decode a case at full size, and as training does."""
        name, data = self.made(number)
        path = self.folder / name
        path.write_bytes(data)
        try:
            pixels = load(path, max_pixels=MAX_PIXELS)
            _see(pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3, f"{pixels.dtype} {pixels.shape}")
            _see(min(pixels.shape[:2]) >= 10 and pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS, f"decoded to {pixels.shape}")
            said = "decoded"
        except Unusable as reason:
            _see(0 < len(str(reason)) < 200 and "\n" not in str(reason), f"a reason of no use: {reason!r}")
            said = "left out"
        small = load_letterbox(ImageFile(str(path), name), CANVAS, MAX_PIXELS)
        if isinstance(small, Letterbox) and said == "decoded":
            size = small.frame.height, small.frame.width
            _see(size == pixels.shape[:2], f"{size} says the header, {pixels.shape[:2]} has the picture")
        return said


def _see(right: bool, what: str) -> None:
    if not right:
        raise AssertionError(what)


def run(soak: Soak, outcome: Outcome) -> None:
    """All cases."""
    tally = run_cases("images", soak, outcome, soak.count(10_000, 300), LIMIT)
    cases = Cases(soak.work, soak.seed)
    for number in sorted(int(f.what.split()[1].rstrip(":")) for f in outcome.faults):
        name, data = cases.made(number)
        soak.kept.mkdir(parents=True, exist_ok=True)
        (soak.kept / f"image-{number}-{name}").write_bytes(data)
    outcome.figures = {**tally.answers, "slowest_seconds": tally.slowest, "largest_growth_mb": tally.growth}
    outcome.done = (
        f"damaged pictures in {len(cases.seeds)} variants of all formats: {tally.answers['decoded']:,} decoded, "
        f"{tally.answers['left out']:,} left out with a reason; slowest {tally.slowest:.1f} s, most memory {tally.growth:.0f} MB"
    )
