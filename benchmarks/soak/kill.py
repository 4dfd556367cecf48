"""SIGKILL at random moments of train, localise and track: old results stand, nothing is half-written, and it goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.soak.inputs import QUICK, trained, write_set
from benchmarks.soak.process import Done, half_written, hashes, keep, program, start
from benchmarks.soak.record import Outcome, Soak
from stn_cli.outputs.manifest import STAGING, renew_manifest
from stn_cli.runs.checkpoint import STATE, load_model, load_state

FRAMES, FRAME = 60, (180, 240)
MOVING = (".whole", ".cleared")
"""In the staging folder while new results, which are whole, take the place of the earlier ones; the next call ends that."""


@dataclass(frozen=True, slots=True)
class Job:
    """A command that is killed.

    Attributes:
        name: of the command.
        arguments: without the results' folder.
        resume: what goes on from where it was killed: instead of all arguments but the command's name.
        compared: results that must come out the same byte for byte, by the ends of their names.
    """

    name: str
    arguments: tuple[object, ...]
    resume: tuple[object, ...]
    compared: tuple[str, ...]

    def run(self, out: Path, temporary: Path, *more: object) -> Done:
        """The whole command."""
        return program(self.name, *self.arguments, "-o", out, "-q", *more, temporary=temporary)

    def same(self, out: Path, reference: dict[str, str]) -> list[str]:
        """Results that are not those of a call that was not killed."""
        found = hashes(out)
        wanted = {name for name in reference if name.endswith(self.compared)}
        return sorted(name for name in wanted if found.get(name) != reference[name])


def jobs(work: Path, quick: bool) -> list[Job]:
    """The three commands, each long enough that moments differ."""
    model, images = trained(work), write_set(work / "images", 40 if quick else 300, (240, 320))
    video = work / "video.mp4"
    write_video(video)
    train = (work / "train-images", "--no-report", *QUICK)
    localise = (images, "-m", model, "--overlay", "--crops", "--format", "csv")
    return [
        Job("train", train, ("--resume", "--no-report"), ("model.safetensors",)),
        Job("localise", localise, (*localise, "--resume"), (".json", ".csv", ".png", ".jpg")),
        Job("track", (video, "--init", "20,70,40,40", "--video", "--crops"), (), ("tracks.json", "tracks.txt", ".jpg")),
    ]


def write_video(path: Path) -> None:
    """A square that wanders over noise."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(40, 160, (*FRAME, 3), np.uint8), (0, 0), 2.0)
    thing = rng.integers(0, 255, (10, 10, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (FRAME[1], FRAME[0]))
    for n in range(FRAMES):
        frame, x, y = ground.copy(), 20 + 2 * n, 70 + round(20 * np.sin(n / 8))
        frame[y : y + 40, x : x + 40] = thing
        writer.write(frame)
    writer.release()


def run(soak: Soak, outcome: Outcome) -> None:
    """Kill each command in turn; even rounds have an earlier result that must stand."""
    made = jobs(soak.work, soak.quick)
    references: dict[str, tuple[Path, float]] = {}
    temporary = soak.work / "temporary"
    temporary.mkdir()
    for job in made:
        out = soak.work / f"reference-{job.name}"
        done = job.run(out, temporary)
        if done.code:
            raise SystemExit(f"{job.name} does not work: {done.words()}")
        references[job.name] = out, done.seconds
    went_on = 0
    cases = soak.count(51, 2)
    for number in cases:
        job = made[number % len(made)]
        reference, seconds = references[job.name]
        out = soak.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        earlier = number // len(made) % 2 == 0
        if earlier:
            shutil.copytree(reference, out)
            _make_old(out)
            renew_manifest(out)
        delay = float(np.random.default_rng([soak.seed, number]).uniform(0.1, 1.05)) * seconds
        wrong = _killed(job, out, temporary, delay, hashes(out) if earlier else {}, hashes(reference))
        wrong += [*_after(job, out, temporary, hashes(reference))] if not wrong else []
        if wrong:
            keep(out, soak.kept, f"kill-{number}-{job.name}") if out.is_dir() else None
            outcome.fault(
                f"{job.name} killed after {delay:.2f} s of {seconds:.2f}: {'; '.join(wrong[:3])}", soak.again("kill", number)
            )
        went_on += not wrong
    outcome.count = len(cases)
    outcome.figures = {"went_on": went_on, **{f"{name}_seconds": round(s, 2) for name, (_, s) in references.items()}}
    outcome.done = (
        f"SIGKILL at random moments of train, localise and track: {went_on} of {len(cases)} went on to the same results"
    )


def _make_old(out: Path) -> None:
    """Make results tell from new ones: a byte more in the texts that nothing reads."""
    for name in ("skipped.jsonl", "tracks.txt"):
        if (out / name).is_file():
            with open(out / name, "a") as file:
                file.write("\n")


def _killed(
    job: Job, out: Path, temporary: Path, delay: float, earlier: dict[str, str], reference: dict[str, str]
) -> list[str]:
    """Start, kill, and see what is there: what is wrong with it."""
    shutil.rmtree(temporary)
    temporary.mkdir()
    process = start(job.name, *job.arguments, "-o", out, "-q", *(("--overwrite",) if earlier else ()), temporary=temporary)
    time.sleep(delay)
    process.kill()
    _, errors = process.communicate()
    if process.returncode == 0:
        return []
    if process.returncode != -9:
        return [f"ended by itself with {process.returncode}: {errors[-200:]}"]
    wrong = half_written(out, temporary)
    found = hashes(out)
    changed = [name for name, digest in earlier.items() if found.get(name) != digest]
    moving = any((out / STAGING / name).exists() for name in MOVING)
    if changed and not moving and job.same(out, reference):
        wrong.append(f"earlier results are gone or changed: {', '.join(changed[:4])} and {max(0, len(changed) - 4)} more")
    return wrong + _loads(out)


def _loads(out: Path) -> list[str]:
    """What a killed training left can be loaded."""
    wrong = []
    loaders: dict[str, Callable[[Path], object]] = {"model.safetensors": load_model, STATE: load_state}
    for name, load in loaders.items():
        for path in (out, out / STAGING):
            if (path / name).is_file():
                try:
                    load(path)
                except Exception as error:
                    wrong.append(f"{name}: {error}")
    return wrong


def _after(job: Job, out: Path, temporary: Path, reference: dict[str, str]) -> list[str]:
    """Go on, or be told clearly why not and begin again: the same results in the end."""
    if job.resume:
        done = program(job.name, *job.resume, "-o", out, "-q", temporary=temporary)
        if not done.clear:
            return [f"--resume: {done.words()}"]
    if not job.resume or done.code:
        done = job.run(out, temporary, "--overwrite")
        if done.code:
            return [f"again with --overwrite: {done.words()}"]
    wrong = job.same(out, reference)
    left = half_written(out, temporary) + ([f"{STAGING} is still there"] if (out / STAGING).exists() else [])
    return ([f"not the same in the end: {', '.join(wrong[:4])}"] if wrong else []) + left
