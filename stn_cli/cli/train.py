"""`stn-coloc train`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stn_cli.cli import train_flags as flags
from stn_cli.cli.options import (
    RUN,
    Debug,
    Device,
    Json,
    MaxPixels,
    Overwrite,
    Quiet,
    Strict,
    Threads,
    Verbose,
    Workers,
    one_or_all,
    out_folder,
)
from stn_cli.errors import OutputError, UsageError, counted
from stn_cli.runtime.launch import launched
from stn_cli.runtime.threads import available_cores, use_threads, working_threads

if TYPE_CHECKING:
    from stn_cli.coloc.train.run import TrainResult
    from stn_cli.runs.config import TrainConfig

PLACE = ("device", "workers")
"""Settings of the machine, which another run's do not decide."""


def train(
    source: flags.Sources = None,
    out: Annotated[Path | None, out_folder(RUN)] = None,
    overwrite: Overwrite = False,
    resume: flags.Resume = False,
    boxes: flags.Boxes = None,
    start: flags.From = None,
    encoder: flags.Encoder = None,
    weights: flags.Weights = None,
    layer: flags.Layer = None,
    transform: flags.Transform = None,
    objects: flags.Objects = None,
    kinds: flags.Kinds = None,
    cascade: flags.Cascade = None,
    search: flags.Search = None,
    size: flags.Size = None,
    imgsz: flags.Imgsz = None,
    margin: flags.Margin = None,
    steps: flags.Steps = None,
    finetune: flags.Finetune = None,
    search_images: flags.SearchImages = None,
    batch: flags.Batch = None,
    lr: flags.Rate = None,
    localisation_lr: flags.LocalisationRate = None,
    seed: flags.Seed = None,
    device: Device = None,
    threads: Threads = None,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
    cache: flags.KeptImages = None,
    config: flags.Config = None,
    print_config: flags.PrintConfig = False,
    report: flags.Report = True,
    strict: Strict = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Learn where the common object of a folder of images is.

    It writes a run folder: settings, weights, log and report.html.
    """
    settings, named = _settings(locals(), config, start)
    if print_config:
        typer.echo(settings.toml().encode("utf-8"), nl=False)  # TOML is UTF-8 whatever the terminal is
        return
    folder = _checked(out or Path(RUN), bool(source), settings, named, config, resume, boxes, start)
    use_threads(threads)
    _train(one_or_all(source), folder, settings, (boxes, start, cache), overwrite, resume, report, json, strict, quiet, verbose)


def _checked(
    folder: Path, given: bool, settings: TrainConfig, named: list[str], config: Path | None, resume: bool, boxes: Path | None,
    start: Path | None,
) -> Path:  # fmt: skip
    """The run folder. A run that is gone on with has these settings; a new one is given images and does not replace its settings' file.

    Raises:
        UsageError, OutputError: it is not so.
    """
    if not given and not resume and start is None:
        raise UsageError("train needs a SOURCE", None, None, "stn-coloc train ./images")
    if resume and (boxes or start):
        raise UsageError("--resume goes on with what the run was begun with", None, None, "Leave out --boxes and --from")
    if resume:
        _check_settings(settings, named, folder)
    elif config:
        _check_apart(config, folder)
    return folder


def _settings(given: dict[str, Any], config: Path | None, start: Path | None) -> tuple[TrainConfig, list[str]]:
    """The settings, and the names of those that were given, by a flag or in the file.

    Args:
        given: the command's parameters by name; None for a flag that was left out.
        config: file with settings.
        start: a run whose settings hold where none are given.

    Raises:
        CheckpointError: the run has none.
        InputError: the file cannot be read or is not TOML.
        UsageError: a setting is wrong.
    """
    from dataclasses import asdict, fields

    from stn_cli.runs.config import TrainConfig, read_toml

    names = [field.name for field in fields(TrainConfig)]
    values = {name: given[name] for name in names if given[name] is not None}
    if "size" in values:
        values["size"] = parse_size(values["size"])
    if "objects" in values:
        values["objects"] = parse_objects(values["objects"])
    values = (read_toml(config) if config else {}) | values
    if start is not None:
        own = {name: value for name, value in asdict(TrainConfig.of_run(start)).items() if name not in PLACE}
        return TrainConfig.read(own | values, str(config) if config else "the command line"), list(values)
    return TrainConfig.read(values, str(config) if config else "the command line"), list(values)


def _train(
    source: str | list[str] | None, folder: Path, settings: TrainConfig, read: tuple[Path | None, ...], overwrite: bool, resume: bool,
    report: bool, json: bool, strict: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Train, write the report, and say what came of it."""
    from stn_cli.cli.console import Progress, conclude
    from stn_cli.jobs.train import train as learn

    progress = Progress(quiet=quiet or not launched().speaks, verbose=verbose)
    if verbose:
        progress.say(f"{counted(working_threads(), 'thread')} on {counted(available_cores(), 'core')}")
    try:
        boxes, start, cache = read
        result = learn(
            source, folder, settings, boxes=boxes, start=start, cache=cache, overwrite=overwrite, resume=resume, report=report,
            reporter=progress,
        )  # fmt: skip
    finally:
        progress.close()
    if not launched().speaks:
        return
    progress.skipped(result.skipped)
    progress.say(_summary(result) + (f". Look at {folder / 'report.html'}" if report else ""))
    facts = {
        "run": str(folder),
        "images": result.images,
        "unused": result.unused,
        "annotated": result.annotated,
        "skipped": len(result.skipped),
        "kind": result.kind,
        "agreement": round(result.agreement, 4),
        "warnings": result.warnings,
        "seconds": round(result.seconds, 2),
    }
    conclude(folder, facts, result.skipped, folder, json=json, strict=strict)


def _summary(result: TrainResult) -> str:
    """What a training came to, for people."""
    from stn_cli.coloc.model.architecture import in_words

    kinds = dict.fromkeys(in_words(kind) for kind in result.kind.split(", "))  # what several are taken for alike is said once
    learnt = f"{counted(result.images, 'image')} in {result.seconds:.0f} s"
    if result.unused:
        whole = result.images + result.unused
        learnt = f"{learnt}, drawn at random of {whole}: as many as the steps draw, more with more --steps"
    annotated = f". {counted(result.annotated, 'image')} of them annotated" if result.annotated else ""
    return (
        f"{learnt}{annotated}. The object is taken for {' and '.join(kinds)}. The boxes that were "
        f"learnt overlap those that the search found by {result.agreement:.2f} on average (1 is the same)"
    )


def _check_settings(settings: TrainConfig, named: Iterable[str], folder: Path) -> None:
    """See that settings that are named with --resume are those that the run began with.

    Raises:
        UsageError: they are not.
        CheckpointError: the run's are damaged.
    """
    from stn_cli.outputs.manifest import STAGING
    from stn_cli.runs.checkpoint import STATE
    from stn_cli.runs.config import TrainConfig

    begun = next((place for place in (folder / STAGING, folder) if (place / STATE).is_file()), None)
    names = list(named)
    if begun is None or not names:  # where there is nothing to resume the training says so
        return
    own = TrainConfig.of_run(begun)
    pairs = [(name, getattr(own, name), getattr(settings, name)) for name in names]
    others = [f"{name}: {value!r} in the run, {wanted!r} given" for name, value, wanted in pairs if value != wanted]
    if others:
        raise UsageError("--resume takes the run's own settings", folder, "; ".join(others), "Leave them out")


def _check_apart(config: Path, folder: Path) -> None:
    """See that settings are not read from the folder whose results are going to be replaced.

    Raises:
        OutputError: they are.
    """
    from stn_cli.outputs.places import Place

    if Place.of(config).is_below(Place.of(folder)):
        what = "results would take the place of the settings that they are made with"
        raise OutputError(what, config, f"it lies in {folder}", "Choose another --out, or copy it elsewhere")


def parse_objects(text: str) -> int:
    """`auto` or a number as the setting, where 0 stands for auto.

    Args:
        text: as it was typed.

    Returns:
        Objects of an image, at most.

    Raises:
        UsageError: it is neither.
    """
    if text.strip() == "auto":
        return 0
    if not re.fullmatch(r"\s*\d{1,4}\s*", text) or int(text) == 0:
        raise UsageError("--objects must be auto or a number", text, "for example 3")
    return int(text)


def parse_size(text: str) -> tuple[float, float]:
    """`LO-HI` or one number as (LO, HI).

    Args:
        text: as it was typed.

    Returns:
        Two shares of an image's side.

    Raises:
        UsageError: it is neither.
    """
    number = r"\s*(\d*\.?\d+)\s*"
    match = re.fullmatch(f"{number}(?:-{number})?", text)
    if match is None:
        raise UsageError("--size must be LO-HI", text, "for example 0.2-0.5")
    low = float(match[1])
    return low, float(match[2]) if match[2] else low
