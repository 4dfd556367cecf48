"""The training of a run: decode -> search -> regression -> fine-tuning -> calibration; every stage can be resumed."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stn_cli.bounds import shown
from stn_cli.coloc.crops import Crops, random_boxes
from stn_cli.coloc.model.finder import Finder, ImageLocalisation, options_for
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.calibration import DOUBTFUL, PATCHES, Calibration, calibrate, little_in_common
from stn_cli.coloc.score.kinds import Kind, find_kinds
from stn_cli.coloc.score.scorers import DenseScorer, dimensions, encoder_state, make_scorer, own_state
from stn_cli.coloc.search.settings import DENSE
from stn_cli.coloc.train.state import check_optimiser, check_state
from stn_cli.coloc.train.steps import (
    Plan,
    descend,
    draw,
    finetune_loss,
    match_sizes,
    predict,
    regression_loss,
    some,
    step_generator,
)
from stn_cli.encoders import Encoder, make_encoder
from stn_cli.errors import CheckpointError, InputError, ResourceError, UsageError, out_of_memory
from stn_cli.files import write_text
from stn_cli.geometry import box_iou
from stn_cli.media.cache import Cache, build_cache, default_workers, letterbox_side
from stn_cli.media.scan import Scan, places_of, require_images, scan
from stn_cli.outputs.manifest import is_staging
from stn_cli.outputs.results import Results
from stn_cli.reading import is_plain
from stn_cli.records import Skipped, reasons
from stn_cli.runs import checkpoint
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import IMAGES, SKIPPED, read_images, read_skipped, write_images, write_skipped
from stn_cli.runs.metrics import Metrics
from stn_cli.runtime.device import pick_device
from stn_cli.runtime.progress import Remarks, Reporter, Silent
from stn_cli.runtime.stopping import StopRequest
from stn_cli.stn import SpatialTransformer, by_name
from stn_cli.version import __version__

CHECK_EVERY = 25
PROBED = 128
"""Images at most whose boxes are compared with the search's."""
FEW = 10
"""Images below which it is said that they are few."""
PATIENCE = 3
LATE = 0.75
"""Share of the steps before which the rate is too high for a standstill to mean anything."""
AGREED = 0.95
LEAST_GAIN = 0.004
SAVE_EVERY = 50
CONFIG, METRICS, REPORT = "config.toml", "metrics.jsonl", "report.html"
NAMES = (CONFIG, METRICS, REPORT, IMAGES, SKIPPED, checkpoint.MODEL, checkpoint.STATE)
BEGINNINGS = frozenset(NAMES) - {checkpoint.MODEL, checkpoint.STATE}
"""What is worth nothing without a state."""


@dataclass(slots=True)
class Progress:
    """Where a training stands; all of it is in state.pt."""

    stage: str = "search"
    number: int = 0
    level: int = 0
    step: int = 0
    best: float = -1.0
    stale: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training came to.

    Attributes:
        run: the run folder.
        images: how many were learnt from.
        skipped: what was left out.
        kind: `rigid`, `words` or `dense`, of each kind of object, with commas.
        agreement: mean IoU of the transformer's boxes with the search's.
        warnings: collapse and the like.
        seconds: spent in this process.
    """

    run: Path
    images: int
    skipped: list[Skipped]
    kind: str
    agreement: float
    warnings: list[str]
    seconds: float


def train(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
    out: str | os.PathLike[str] = "stn-coloc-run",
    config: TrainConfig | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Learn from a folder of images where their common object is.

    Args:
        source: what to learn from, see `stn_cli.media.scan.scan`; not needed to resume.
        out: the run folder.
        config: settings; with `resume`, those of the run are taken.
        overwrite: a run that is there may be replaced.
        resume: go on where a run that was stopped stands.
        reporter: hears of progress.

    Returns:
        A summary; everything else is in the run folder.

    Raises:
        InputError: fewer than two usable images, or all of them alike.
        OutputError: the run folder cannot be used.
        CheckpointError: nothing to resume, or it is damaged.
        DivergedError: a loss or gradient that is not finite.
        Interrupted: a signal came; the run can be resumed.
        ResourceError: no such device, or out of memory.
    """
    reporter = reporter or Silent()
    folder = Path(out)
    begun = time.monotonic()
    try:
        with StopRequest() as stop:
            if resume:
                return _resumed(folder, source, reporter, stop, begun)
            config = config or TrainConfig()
            pick_device(config.device)
            if source is None:
                raise InputError("no source given", todo="Name a folder of images")
            found = scan(source)
            folders, beside = places_of(source, found)
            uses = [*beside, *(p for p in (config.weights, config.encoder) if os.path.exists(p))]
            results = Results(folder, "train", NAMES, folders, uses, overwrite=overwrite, beginnings=BEGINNINGS)
            require_images(found, source, 2)
            for note in found.notes:
                reporter.warn(note)
            with results.open() as work:
                return _Training(results, work, config, found, None, reporter, stop, begun).run()
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            todo = "Lower --batch, --imgsz or --search-images; of a GPU, use --device cpu"
            raise ResourceError("out of memory", todo=todo) from error
        raise


def _resumed(
    folder: Path,
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
    reporter: Reporter,
    stop: StopRequest,
    begun: float,
) -> TrainResult:
    """Go on with what a stopped training left; a finished one is finished again, which rebuilds its model."""
    results = Results(folder, "train", NAMES, resume=True, beginnings=BEGINNINGS, repairs=True)
    if is_staging(results.staging) and not is_plain(results.staging / checkpoint.STATE):
        raise CheckpointError(
            "nothing to resume", results.staging, "it was stopped before its first state", "Start without --resume"
        )
    with results.open() as work:
        if not (work / checkpoint.STATE).is_file():
            checkpoint.load_state(folder)
            TrainConfig.of_run(folder)
            read_images(folder)
            for name in NAMES:
                if is_plain(folder / name, checkpoint.MOST_BYTES):
                    shutil.copyfile(folder / name, work / name)
        state = checkpoint.load_state(work)
        config = TrainConfig.of_run(work)
        found = Scan(read_images(work), read_skipped(work))
        if source is not None:
            _check_same(scan(source), found, folder)
        return _Training(results, work, config, found, state, reporter, stop, begun).run()


def _check_same(given: Scan, known: Scan, folder: Path) -> None:
    """See that a source is the one that a run began with.

    Raises:
        UsageError: it is not.
    """
    paths = {os.path.abspath(f.path): f.name for f in given.images}
    own = {f.path for f in known.images}
    left_out = {row.file for row in known.skipped}
    others = [name for path, name in paths.items() if path not in own and name not in left_out]
    if others or own - paths.keys():
        missing = sorted(own - paths.keys())[:1]
        why = f"it has '{others[0]}' besides" if others else f"it lacks '{missing[0]}'"
        raise UsageError("--resume goes on with the run's own images, and SOURCE is not those", folder, why, "Leave SOURCE out")


class _Training:
    """One training; an object because its stages share cache, networks and progress."""

    def __init__(
        self,
        results: Results,
        work: Path,
        config: TrainConfig,
        found: Scan,
        state: dict[str, Any] | None,
        reporter: Reporter,
        stop: StopRequest,
        begun: float,
    ) -> None:
        self.results, self.folder, self.config, self.found, self.begun = results, work, config, found, begun
        self.reporter, self.stop = reporter, stop
        self.device = pick_device(config.device)
        self.progress = Progress()
        self.encoder: Encoder = make_encoder(config.encoder, Path(config.weights) if config.weights else None, config.layer)
        self.encoder.to(self.device)
        self.kinds: list[Kind] = []
        self.finders: list[Finder] = []
        self.metrics = Metrics(work)
        self.state = state
        self.amp = torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
        self._optimiser: torch.optim.Optimizer | None = None

    def run(self) -> TrainResult:
        """All stages, from where the state says."""
        if self.state is not None:
            self._say_how_to_go_on()
        self.cache = self._decode()
        self.cache.settle(self.device)
        if self.state is None:
            write_text(self.folder / CONFIG, f"# stn-coloc {__version__}\n" + self.config.toml())
            self.metrics.clear()
            self._save()
            self._say_how_to_go_on()
        else:
            self._restore(self.state)
        if self.progress.stage == "search":
            self._search()
        while self.progress.stage in ("regression", "finetune"):
            if self.progress.stage == "regression":
                self._regress()
            else:
                self._finetune()
        calibrations = self._calibrate()
        agreement = self._finish(calibrations)
        return TrainResult(
            self.results.folder,
            len(self.cache),
            self.cache.skipped,
            ", ".join(kind.kind for kind in self.kinds),
            agreement,
            self.progress.warnings,
            time.monotonic() - self.begun,
        )

    def _decode(self) -> Cache:
        files = self.found.images
        self.reporter.stage("decode", len(files))
        finest = 2 ** (self.config.cascade - 1)
        looked_at = letterbox_side(files, self.config.imgsz * finest, multiple=4 * finest)
        closely = self.encoder.dense and self.config.cascade == 1
        side = letterbox_side(files, round(self.config.imgsz * max(DENSE.scales))) if closely else looked_at
        cache = build_cache(
            files,
            side,
            self.folder,
            workers=self.config.workers or default_workers(),
            max_pixels=self.config.max_pixels,
            progress=self._decoded,
        )
        cache.skipped[:0] = self.found.skipped
        write_skipped(self.folder, cache.skipped)
        if len(cache) < 2:
            raise InputError(
                "at least 2 usable images are needed",
                todo=f"{len(cache)} usable, {reasons(cache.skipped)}",
            )
        if cache.alike():
            raise InputError("all images are alike", todo="There is nothing to tell the object from its background by")
        kept = set(cache.names)
        write_images(self.folder, [f for f in files if f.name in kept])
        remarks = Remarks(self.reporter.warn)
        for name, note in cache.notes:
            remarks.add(name, note)
        remarks.close()
        self.large = cache
        return cache.reduced(looked_at)

    def _decoded(self, count: int) -> None:
        self.reporter.advance(count)
        self.stop.check(self.stop.todo or "Nothing was learnt yet")

    def _search(self) -> None:
        self.reporter.stage("search", None)

        def heard(note: str) -> None:
            self.reporter.advance(1, note)
            self.stop.check()

        with torch.no_grad():
            self.kinds = find_kinds(self.cache, self.encoder, self.config, self.device, heard, self.large)
        for number, kind in enumerate(self.kinds):
            for side, loss in kind.curve:
                self.metrics.log({"stage": "search", "object": number, "side": round(side, 4), "loss": loss})
            self.metrics.log(
                {
                    "stage": "search",
                    "object": number,
                    "kind": kind.kind,
                    "objects": kind.boxes.shape[1],
                    "rigid_objective": kind.rigid_objective,
                    "contrast": kind.contrast,
                    "common": kind.common,
                }
            )
        self._build([options_for(self.config.transform, kind.placed()) for kind in self.kinds])
        self.large = self.cache
        self._warm_start()
        self._next_stage("regression")

    def _build(self, options: list[dict[str, float]]) -> None:
        torch.manual_seed(self.config.seed)
        self.options = options
        for kind, option in zip(self.kinds, options, strict=True):
            transform = by_name(self.config.transform, **option)
            reader = kind.scorer if isinstance(kind.scorer, DenseScorer) else None
            finder = Finder(transform, kind.boxes.shape[1], self.config.cascade, reader)
            self.finders.append(finder.to(self.device))

    def _warm_start(self) -> None:
        index = torch.arange(len(self.cache))[:: max(1, len(self.cache) // 64)]
        for number, finder in enumerate(self.finders):
            for level in range(len(finder.levels)):
                plan, localisation = self._plan(number, level), finder.localisation(level)
                if plan.fine:
                    sample = draw(plan, step_generator(self.config.seed, 0))
                    localisation.standardise(sample.scene)
                    half = sample.half_sides[:, 0]
                else:
                    localisation.standardise(finder.coarse(Scene.of(self.cache, index, self.device)))
                    boxes = self.kinds[number].placed(0)
                    half = (boxes[:, 2:] - boxes[:, :2]) / 2
                localisation.begin_at(half.clamp(min=1e-3).log().mean(0).exp())

    def _plan(self, number: int, level: int) -> Plan:
        finder = self.finders[number]
        transform, reader = finder.transformer(level).transform, finder.localisation(level).reader
        return Plan(self.cache, self.kinds[number], transform, finder.reduction, level > 0, self.config.batch, reader.hideable)

    def _now(self) -> tuple[SpatialTransformer, Plan, ImageLocalisation]:
        """The transformer that is being trained, its plan and its f_loc."""
        number, level = self.progress.number, self.progress.level
        finder = self.finders[number]
        return finder.transformer(level), self._plan(number, level), finder.localisation(level)

    def _named(self, stage: str) -> str:
        """A stage's name for people: which of several objects and levels it is about."""
        of = [(self.progress.number, len(self.finders), "kind"), (self.progress.level, self.config.cascade, "level")]
        return stage + "".join(f", {what} {i + 1} of {n}" for i, n, what in of if n > 1)

    def _next_stage(self, name: str) -> None:
        self.progress.stage, self.progress.step = name, 0
        self.progress.stale, self.progress.best = 0, -1.0
        self._optimiser = None
        self._save()
        self._say_how_to_go_on()

    def _optimise_with(self, share: float) -> torch.optim.Optimizer:
        if self._optimiser is None:
            transformer, _, _ = self._now()
            groups = transformer.parameter_groups(self.config.lr * share, self.config.localisation_lr)
            self._optimiser = torch.optim.AdamW(groups, weight_decay=1e-4)
            for group in self._optimiser.param_groups:
                group["full"] = group["lr"]
        return self._optimiser

    def _regress(self) -> None:
        steps = self.config.steps
        transformer, plan, localisation = self._now()
        self.reporter.stage(self._named("regression"), steps)
        self.reporter.advance(self.progress.step)
        optimiser = self._optimise_with(1.0)
        parameters = list(transformer.parameters())
        while self.progress.step < steps:
            with self.stop.finishing():
                step = self.progress.step
                self._set_rate(optimiser, min(1.0, (step + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * step / steps)))
                with self.amp:
                    jitter = min(1.0, 2 - 2 * step / steps)
                    sample = draw(plan, step_generator(self.config.seed, step), jitter)
                    seen = localisation.look(sample.scene, sample.shown)
                    loss = regression_loss(localisation.body, seen, sample)
                value, norm = descend(loss, optimiser, parameters, step, sample.names)
                self.progress.step += 1
                record: dict[str, Any] = {**self._where("regression"), "step": step, "loss": value, "gradient": norm}
                note = f"loss {value:.3f}"
                if self.progress.step % CHECK_EVERY == 0:
                    agreement = self._agreement(self.progress.number, self.progress.level + 1)
                    record["agreement"] = agreement
                    note += f", overlap with the search's boxes {agreement:.2f}"
                    gained = agreement > self.progress.best + LEAST_GAIN
                    self.progress.stale = 0 if gained else self.progress.stale + 1
                    self.progress.best = max(agreement, self.progress.best)
                self.metrics.log(record)
                self.reporter.advance(1, note)
                if self.progress.best >= AGREED or (self.progress.stale >= PATIENCE and self.progress.step >= LATE * steps):
                    break
                self._checkpoint()
        if self.progress.level + 1 < self.config.cascade:
            self.progress.level += 1
            self._next_stage("regression")
        else:
            self._next_stage("finetune")

    def _where(self, stage: str) -> dict[str, Any]:
        """What a line of metrics is about."""
        return {"stage": stage, "object": self.progress.number, "level": self.progress.level}

    def _set_rate(self, optimiser: torch.optim.Optimizer, share: float) -> None:
        for group in optimiser.param_groups:
            group["lr"] = group["full"] * share

    @torch.no_grad()
    def _agreement(self, number: int, depth: int | None = None) -> float:
        """Mean IoU of a finder's boxes with the search's, each of the search's with the nearest; 0 where no object is believed to be."""
        kind = self.kinds[number]
        index = self._probe(kind)
        found = predict(self.finders[number], self.cache, self.device, index, depth).boxes()  # (n, R, 4)
        at = index.to(self.device)
        wanted, present = kind.crops()[at].boxes(), kind.present[at]
        overlap = box_iou(wanted[:, :, None], found[:, None]).amax(-1)
        return float(overlap[present].mean()) if bool(present.any()) else 0.0

    def _probe(self, kind: Kind) -> Tensor:
        """Some images of the set, enough to see whether the network agrees with the search: of many, random ones that hold an object."""
        if len(self.cache) <= self.config.search_images:
            return torch.arange(len(self.cache))[:PROBED]
        held = kind.present.any(1).nonzero()[:, 0].cpu()
        held = held if len(held) else torch.arange(len(self.cache))
        return held[some(len(held), PROBED, self.config.seed)]

    def _finetune(self) -> None:
        steps = self.config.finetune
        transformer, plan, localisation = self._now()
        scorer = self.kinds[self.progress.number].scorer
        self.reporter.stage(self._named("fine-tuning"), steps)
        self.reporter.advance(self.progress.step)
        optimiser = self._optimise_with(0.1)
        parameters = list(transformer.parameters())
        if self.progress.step == 0:
            self.before = {k: v.clone() for k, v in transformer.state_dict().items()}
            self.objective_before = self._objective()
        while self.progress.step < steps:
            with self.stop.finishing():
                step = self.progress.step
                self._set_rate(optimiser, 1 - step / steps)
                g = step_generator(self.config.seed + 1, step)
                sample = draw(plan, g, 0.0)
                loss = finetune_loss(localisation, scorer, sample, g, self.config.margin)
                value, norm = descend(loss, optimiser, parameters, step, sample.names)
                self.progress.step += 1
                self.metrics.log({**self._where("finetune"), "step": step, "loss": value, "gradient": norm})
                self.reporter.advance(1, f"loss {value:.3f}")
                self._checkpoint()
        after = self._objective()
        kept = after <= self.objective_before
        self.metrics.log(
            {
                **self._where("finetune"),
                "objective_before": self.objective_before,
                "objective_after": after,
                "kept": kept,
            }
        )
        if not kept:
            transformer.load_state_dict(self.before)
        if isinstance(scorer, DenseScorer):
            finder, kind = self.finders[self.progress.number], self.kinds[self.progress.number]
            match_sizes(finder, kind, self.cache, self.device, self.config.seed)
        if self.progress.number + 1 < len(self.finders):
            self.progress.number, self.progress.level = self.progress.number + 1, 0
            self._next_stage("regression")
        else:
            self._next_stage("calibrate")

    @torch.no_grad()
    def _objective(self) -> float:
        """The triplet objective of a finder's first crops over some images, with the same random patches every time."""
        finder, kind = self.finders[self.progress.number], self.kinds[self.progress.number]
        index = self._probe(kind)
        crops = predict(finder, self.cache, self.device, index)[:, :1]
        scene = Scene.of(self.cache, index, self.device)
        box = crops.boxes()[:, 0]
        g = torch.Generator().manual_seed(self.config.seed)
        random = Crops.of_boxes(random_boxes(scene.rectangles, PATCHES, box[:, 2:] - box[:, :2], g))
        return float(kind.scorer.loss(scene, crops, random, self.config.margin))

    def _calibrate(self) -> list[Calibration]:
        self.reporter.stage("calibration", None)
        calibrations = []
        self.progress.warnings = []
        if len(self.cache) < FEW:
            self._suspect(f"{len(self.cache)} images are too few to learn from well: ten are few, a hundred are comfortable")
        doubtful = little_in_common([kind.common for kind in self.kinds])
        for finder, kind, doubt in zip(self.finders, self.kinds, doubtful, strict=True):
            calibration, suspicion = calibrate(finder, kind.scorer, self.cache, self.device, self.config.seed)
            calibrations.append(calibration)
            sayings = [suspicion]
            if doubt:
                calibration.most.fill_(DOUBTFUL)
                sayings.append(
                    f"the crops have little in common ({kind.common:.2f}): there may be no common object; scores stay below 0.5"
                )
            for said in filter(None, sayings):
                self._suspect(said)
        return calibrations

    def _suspect(self, said: str) -> None:
        self.progress.warnings.append(said)
        self.reporter.warn(said)
        self.metrics.log({"stage": "calibrate", "warning": said})

    def _finish(self, calibrations: list[Calibration]) -> float:
        agreement = sum(self._agreement(i) for i in range(len(self.finders))) / len(self.finders)
        self.metrics.log({"stage": "done", "agreement": agreement})
        tensors = encoder_state(self.encoder)
        for number, parts in enumerate(zip(self.finders, self.kinds, calibrations, strict=True)):
            finder, kind, calibration = parts
            states = {"finder": finder.state_dict(), "scorer": own_state(kind.scorer), "calibration": calibration.state_dict()}
            tensors |= {f"{number}.{name}.{k}": v for name, state in states.items() for k, v in state.items()}
        facts = {
            "version": __version__,
            "transform": self.config.transform,
            "encoder": self.encoder.name,
            "layer": self.config.layer,
            "letterbox": self.cache.letterbox,
            "cascade": self.config.cascade,
            "kinds": [
                {
                    "kind": kind.kind,
                    "scorer": dimensions(kind.scorer),
                    "objects": finder.objects,
                    "options": option,
                }
                for finder, kind, option in zip(self.finders, self.kinds, self.options, strict=True)
            ],
            "images": len(self.cache),
            "agreement": agreement,
            "warnings": self.progress.warnings,
        }
        checkpoint.save_model(self.folder, tensors, facts)
        self.progress.stage = "calibrate"
        self._save()
        return agreement

    def _say_how_to_go_on(self) -> None:
        """There is a state now: a stopped training can be resumed."""
        self.results.keep = True
        again = "; the search begins anew" if self.progress.stage == "search" else ""
        self.stop.todo = f"Go on with stn-coloc train --resume -o {self.results.folder}{again}"

    def _checkpoint(self) -> None:
        stopping = bool(self.stop.signum)
        if stopping or self.progress.step % SAVE_EVERY == 0:
            self._save()
        self.stop.check()

    def _save(self) -> None:
        p = self.progress
        state: dict[str, Any] = {
            "version": __version__,
            "names": self.cache.names,
            "progress": [p.stage, p.number, p.level, p.step, p.best, p.stale, p.warnings],
        }
        if p.stage != "search":
            state["kinds"] = [
                {
                    "kind": k.kind,
                    "dimensions": dimensions(k.scorer),
                    "scorer": k.scorer.state_dict(),
                    "places": [k.boxes, k.angles, k.present],
                    "curve": [list(pair) for pair in k.curve],
                    "choice": [k.rigid_objective, k.contrast, k.common],
                    "options": option,
                    "finder": finder.state_dict(),
                }
                for k, option, finder in zip(self.kinds, self.options, self.finders, strict=True)
            ]
        if self._optimiser is not None:
            state["optimiser"] = self._optimiser.state_dict()
        if p.stage == "finetune" and p.step > 0:
            state["before"] = {"weights": self.before, "objective": self.objective_before}
        checkpoint.save_state(self.folder, state)

    def _restore(self, state: dict[str, Any]) -> None:
        """Go on from a state, which may be of any origin."""
        if state.get("names") != self.cache.names:
            raise CheckpointError(
                "the images are not those that the run began with", self.folder, None, "Start anew with --overwrite"
            )
        try:
            check_state(state, self.config, len(self.cache))
            self._take_up(state)
        except (ValueError, KeyError, TypeError, RuntimeError, UsageError) as error:
            why = shown(" ".join(str(error).split()))
            raise CheckpointError(
                "training state cannot be used", self.folder / checkpoint.STATE, why, "Start anew with --overwrite"
            ) from error
        self.metrics.trim(self.progress.stage, self.progress.number, self.progress.level, self.progress.step)

    def _take_up(self, state: dict[str, Any]) -> None:
        self.progress = Progress(*state["progress"])
        for k in state.get("kinds", []):
            scorer = make_scorer(k["kind"], k["dimensions"], self.encoder).to(self.device)
            scorer.load_state_dict(k["scorer"])
            curve = [(float(a), float(b)) for a, b in k["curve"]]
            boxes, angles, present = (t.to(self.device) for t in k["places"])
            objective, contrast, common = k["choice"]
            self.kinds.append(Kind(k["kind"], scorer, boxes, angles, present, curve, objective, contrast, common))
        if self.kinds:
            self._build([k["options"] for k in state["kinds"]])
            for finder, k in zip(self.finders, state["kinds"], strict=True):
                finder.load_state_dict(k["finder"])
        if "optimiser" in state:
            optimiser = self._optimise_with(1.0)
            check_optimiser(state["optimiser"], optimiser)
            optimiser.load_state_dict(state["optimiser"])
        if "before" in state:
            self.before = {k: v.to(self.device) for k, v in state["before"]["weights"].items()}
            self.objective_before = state["before"]["objective"]
            transformer, _, _ = self._now()
            checkpoint.check_fit(transformer.state_dict(), self.before, self.folder / checkpoint.STATE)
        with torch.no_grad():
            for finder, kind in zip(self.finders, self.kinds, strict=True):  # parts that do not fit together end here
                crops = finder(Scene.of(self.cache, torch.arange(1), self.device))
                kind.scorer.margins(Scene.of(self.cache, torch.arange(1), self.device), crops)
