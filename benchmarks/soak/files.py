"""10,000 damaged models, states, settings, lists and truths: read, or one line that says why not; no crash, no hang, no exit 1."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

from benchmarks.soak.containers import damaged_model, damaged_state
from benchmarks.soak.documents import make_base
from benchmarks.soak.mutate import ODD_VALUES, Random, damage, damage_json, damage_lines, pick
from benchmarks.soak.pool import run_cases
from benchmarks.soak.process import CLEAR, Done
from benchmarks.soak.record import Outcome, Soak
from stn_cli.cli.app import run as run_program
from stn_cli.encoders import FILE, make_encoder
from stn_cli.errors import ColocError
from stn_cli.outputs.manifest import MANIFEST, STAGING
from stn_cli.outputs.moving import JOURNAL
from stn_cli.runs.checkpoint import STATE
from stn_cli.runs.folder import MODEL

LIMIT = 60.0
"""Seconds for a case, on a busy machine."""
SPARSE = 50 << 30
"""Bytes that one in a hundred files claims to have, on a disk that need not hold them."""
PRECIOUS = "precious.txt"
"""A file beside the results that is nobody's to touch."""


def call(*arguments: object) -> Done:
    """Run a command of the program in this process."""
    out, errors = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()  # settings are printed as bytes
    with redirect_stdout(out), redirect_stderr(errors):
        code = run_program([str(a) for a in arguments])
    return Done(code, errors.getvalue(), 0.0)


class Cases:
    """One damaged file after another; see `worker`. `folder` lies beside the `base` of right files."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed, self.base = folder, seed, folder.parent / "base"
        self.kinds: list[Callable[[Random], list[object]]] = [
            self.model, self.model, self.odd_model, self.state, self.state, self.odd_state, self.settings, self.settings_of_a_run,
            self.list_of_paths, self.images_of_a_run, self.rows_of_a_run, self.truth, self.truth, self.coco, self.predicted,
            self.voc, self.mot, self.tracks, self.one_object, self.manifest, self.journal, self.encoder,
        ]  # fmt: skip
        for kind in self.kinds:  # what is loaded for the first time is no case's memory
            self.made(kind, np.random.default_rng(0))
        call("localise", self.base / "images", "-m", self.base / "run", "-o", self.folder / "warm", "-q")

    def made(self, kind: Callable[[Random], list[object]], rng: Random) -> list[object]:
        """Write a case's files; the command that reads them."""
        shutil.rmtree(self.folder / "case", ignore_errors=True)
        (self.folder / "case").mkdir(parents=True)
        (self.folder / PRECIOUS).write_text("mine")
        (self.folder / "case" / PRECIOUS).write_text("mine")
        return kind(rng)

    def of(self, number: int) -> tuple[str, list[object]]:
        """A case's kind and command."""
        kind = self.kinds[number % len(self.kinds)]
        return kind.__name__, self.made(kind, np.random.default_rng([self.seed, number]))

    def run(self, number: int) -> str:
        """Read a case; what became of it."""
        kind, command = self.of(number)
        if command[0] == "encoder":
            try:
                make_encoder(str(command[1]))
            except ColocError as error:
                return f"exit {error.exit_code}"
            return "exit 0"
        done = call(*command)
        if done.code != 0 and not (done.code in CLEAR and done.one_line):
            raise AssertionError(f"{kind}: {done.words()}")
        if done.code == 7 and "memory" in done.errors:
            raise AssertionError(f"{kind}: takes more memory than there is: {done.words()}")
        if "Warning" in done.errors or "Traceback" in done.errors:
            raise AssertionError(f"{kind}: ends with {done.code} and says {done.errors[-300:]}")
        for path in (self.folder / PRECIOUS, self.folder / "case" / PRECIOUS):
            if not path.is_file() or path.read_text() != "mine":
                raise AssertionError(f"{kind}: a file that is not the tool's is gone")
        return f"exit {done.code}"

    def _copy(self, name: str) -> Path:
        """A copy of a folder of the base among the case's files."""
        shutil.copytree(self.base / name, self.folder / "case" / name)
        return self.folder / "case" / name

    def _document(self, name: str, data: bytes) -> Path:
        path = self.folder / "case" / name
        path.write_bytes(data)
        return path

    def _right(self, name: str) -> Path:
        return self.base / "documents" / name

    def _spoil(self, rng: Random, path: Path, data: bytes) -> None:
        """Write data in the place of a file; one in a hundred times the file is far larger than it should be."""
        path.write_bytes(data)
        if rng.random() < 0.01:
            os.truncate(path, SPARSE)

    def _localise(self, run: Path) -> list[object]:
        return ["localise", self.base / "images", "-m", run, "-o", self.folder / "case" / "results", "-q"]

    def model(self, rng: Random) -> list[object]:
        run = self._copy("run")
        self._spoil(rng, run / MODEL, damage(rng, (run / MODEL).read_bytes()))
        return self._localise(run)

    def odd_model(self, rng: Random) -> list[object]:
        run = self._copy("run")
        self._spoil(rng, run / MODEL, damaged_model(rng, (run / MODEL).read_bytes()))
        return self._localise(run)

    def encoder(self, rng: Random) -> list[object]:
        folder = self._copy("encoder")
        data = (folder / FILE).read_bytes()
        self._spoil(rng, folder / FILE, damaged_model(rng, data) if rng.random() < 0.6 else damage(rng, data))
        return ["encoder", folder]

    def state(self, rng: Random) -> list[object]:
        run = self._copy("stopped")
        path = next(run.rglob(STATE))
        self._spoil(rng, path, damage(rng, path.read_bytes()))
        return ["train", "--resume", "-o", run, "-q", "--no-report"]

    def odd_state(self, rng: Random) -> list[object]:
        run = self._copy("stopped")
        path = next(run.rglob(STATE))
        self._spoil(rng, path, damaged_state(rng, path.read_bytes()))
        return ["train", "--resume", "-o", run, "-q", "--no-report"]

    def _odd_settings(self, rng: Random) -> bytes:
        text = (self.base / "run" / "config.toml").read_text()
        if rng.random() < 0.5:
            return damage_lines(rng, text)
        lines = text.splitlines()
        at = int(rng.integers(1, len(lines)))
        lines[at] = f"{lines[at].split(' = ')[0]} = {json.dumps(pick(rng, ODD_VALUES)).lower()}"
        return "\n".join(lines).encode("utf-8", "replace")

    def settings(self, rng: Random) -> list[object]:
        path = self._document("config.toml", b"")
        self._spoil(rng, path, self._odd_settings(rng))
        return ["train", "--config", path, "--print-config"]

    def settings_of_a_run(self, rng: Random) -> list[object]:
        if rng.random() < 0.5:
            run = self._copy("run")
            self._spoil(rng, run / "config.toml", self._odd_settings(rng))
            return ["report", run, "-q"]
        run = self._copy("stopped")
        self._spoil(rng, next(run.rglob("config.toml")), self._odd_settings(rng))
        return ["train", "--resume", "-o", run, "-q", "--no-report"]

    def list_of_paths(self, rng: Random) -> list[object]:
        self._copy("images")
        path = self._document("list.txt", b"")
        text = self._right("list.txt").read_text()
        self._spoil(rng, path, damage_lines(rng, text) if rng.random() < 0.7 else damage(rng, text.encode()))
        return ["localise", path, *self._localise(self.base / "run")[2:]]

    def images_of_a_run(self, rng: Random) -> list[object]:
        run = self._copy("run")
        text = (run / "images.txt").read_text()
        self._spoil(rng, run / "images.txt", damage_lines(rng, text) if rng.random() < 0.7 else damage(rng, text.encode()))
        return ["localise", *self._localise(run)[2:], *(("--crops",) if rng.random() < 0.5 else ())]

    def rows_of_a_run(self, rng: Random) -> list[object]:
        run = self._copy("run")
        path = run / pick(rng, ("skipped.jsonl", "metrics.jsonl"))
        text = path.read_text() or '{"file": "a.png", "reason": "truncated"}\n{"file": "b.png", "reason": "empty"}\n'
        rows = [json.loads(line) for line in text.splitlines()]
        data = damage_lines(rng, text)
        if rng.random() < 0.5:
            at = int(rng.integers(len(rows)))
            changed = damage_json(rng, rows[at])
            data = b"\n".join(
                [*(json.dumps(r).encode() for r in rows[:at]), changed, *(json.dumps(r).encode() for r in rows[at:])]
            )
        self._spoil(rng, path, data)
        return ["report", run, "-q"]

    def _odd_json(self, rng: Random, name: str) -> Path:
        path, right = self._document(name, b""), self._right(name).read_bytes()
        self._spoil(rng, path, damage_json(rng, json.loads(right)) if rng.random() < 0.75 else damage(rng, right))
        return path

    def _evaluate(self, rng: Random, predicted: Path, truth: Path) -> list[object]:
        extra = (
            ("--json",) if rng.random() < 0.5 else ("--csv", self.folder / "case" / "rows.csv") if rng.random() < 0.3 else ()
        )
        return ["evaluate", predicted, truth, *extra]

    def truth(self, rng: Random) -> list[object]:
        return self._evaluate(rng, self._right("boxes.json"), self._odd_json(rng, "truth.json"))

    def coco(self, rng: Random) -> list[object]:
        return self._evaluate(rng, self._right("boxes.json"), self._odd_json(rng, "coco.json"))

    def predicted(self, rng: Random) -> list[object]:
        return self._evaluate(rng, self._odd_json(rng, "boxes.json"), self._right("truth.json"))

    def voc(self, rng: Random) -> list[object]:
        folder = self.folder / "case" / "voc"
        folder.mkdir()
        text = self._right("voc.xml").read_text()
        (folder / "right.xml").write_text(text.replace("00000", "00001"))
        self._spoil(rng, folder / "odd.xml", damage_lines(rng, text) if rng.random() < 0.6 else damage(rng, text.encode()))
        return self._evaluate(rng, self._right("boxes.json"), folder)

    def mot(self, rng: Random) -> list[object]:
        path, text = self._document("tracks.txt", b""), self._right("tracks.txt").read_text()
        self._spoil(rng, path, damage_lines(rng, text) if rng.random() < 0.7 else damage(rng, text.encode()))
        return self._evaluate(
            rng, *((path, self._right("tracks.txt")) if rng.random() < 0.5 else (self._right("tracks.txt"), path))
        )

    def tracks(self, rng: Random) -> list[object]:
        odd, right = self._odd_json(rng, "tracks.json"), self._right(pick(rng, ("tracks.json", "tracks.txt", "one.json")))
        return self._evaluate(rng, *((odd, right) if rng.random() < 0.6 else (self._right("tracks.txt"), odd)))

    def one_object(self, rng: Random) -> list[object]:
        return self._evaluate(rng, self._right("tracks.json"), self._odd_json(rng, "one.json"))

    def journal(self, rng: Random) -> list[object]:
        out = self._copy("begun")
        path = out / STAGING / JOURNAL
        text = path.read_text()
        self._spoil(rng, path, damage_lines(rng, text) if rng.random() < 0.7 else damage(rng, text.encode()))
        return [*self._localise(self.base / "run")[:4], "-o", out, "-q", "--batch", "2", "--resume"]

    def manifest(self, rng: Random) -> list[object]:
        out = self._copy("out")
        path = out / MANIFEST
        text = path.read_text()
        names = text.replace(
            "boxes.json", pick(rng, (f"../{PRECIOUS}", str(self.folder / PRECIOUS), f"crops/../../{PRECIOUS}"))
        )
        self._spoil(rng, path, names.encode() if rng.random() < 0.5 else damage_lines(rng, text))
        return [*self._localise(self.base / "run")[:4], "-o", out, "-q", "--overwrite"]


def run(soak: Soak, outcome: Outcome) -> None:
    """All cases."""
    make_base(soak.work)
    cases = soak.count(10_000, 200)
    tally = run_cases("files", soak, outcome, cases, LIMIT)
    for number in sorted(int(f.what.split()[1].rstrip(":")) for f in outcome.faults):
        _keep(Cases(soak.work / "again", soak.seed), number, soak.kept / f"files-{number}")
    outcome.figures = {**tally.answers, "slowest_seconds": tally.slowest, "largest_growth_mb": tally.growth}
    ended = ", ".join(f"{count:,} {said}" for said, count in sorted(tally.answers.items()) if said != "fault")
    outcome.done = f"damaged models, states, settings, lists and truths: {ended}; slowest {tally.slowest:.1f} s"


def _keep(cases: Cases, number: int, target: Path) -> None:
    """Copy a case's files, and the command that reads them, to where they stay; a file with a hole is made small and its size said."""
    _, command = cases.of(number)
    text = " ".join(str(part) for part in command) + "\n"
    for path in (cases.folder / "case").rglob("*"):
        if path.is_file() and path.stat().st_size == SPARSE:
            os.truncate(path, 1 << 20)
            text = f"truncate -s {SPARSE} {path}\n" + text
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(cases.folder / "case", target)
    (target / "command.txt").write_text(text.replace(str(cases.folder / "case"), str(target)))
