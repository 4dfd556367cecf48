"""The training of a run: decode -> search -> regression -> fine-tuning -> calibration; every stage can be resumed."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import stn_cli
from stn_cli.coloc import checkpoint
from stn_cli.coloc.calibration import PATCHES, calibrate, collapse
from stn_cli.coloc.config import TrainConfig
from stn_cli.coloc.device import pick_device
from stn_cli.coloc.encoder import Encoder, make_encoder
from stn_cli.coloc.judge import dimensions, make_judge
from stn_cli.coloc.metrics import Metrics
from stn_cli.coloc.network import ImageLocalisation, build_transformer
from stn_cli.coloc.patches import random_boxes
from stn_cli.coloc.reporting import Reporter, Silent
from stn_cli.coloc.search import SearchResult, search
from stn_cli.coloc.stopping import StopRequest
from stn_cli.coloc.training import (
    boxes_of,
    descend,
    draw,
    finetune_loss,
    predict,
    regression_loss,
    step_generator,
)
from stn_cli.errors import CheckpointError, InputError, ResourceError
from stn_cli.files import prepare_folder, write_text
from stn_cli.geometry import box_iou, box_to_matrix
from stn_cli.media.cache import Cache, build_cache, canvas_side, default_workers
from stn_cli.media.scan import Scan, require_images, scan
from stn_cli.records import Skipped
from stn_cli.runfolder import read_images, write_images, write_skipped
from stn_cli.stn import SpatialTransformer, by_name

CROP = 64
"""Side of the transformer's crops, pixels."""
CHECK_EVERY = 25
PATIENCE = 3
LATE = 0.75
"""Share of the steps before which the rate is too high for a standstill to mean anything."""
AGREED = 0.9
LEAST_GAIN = 0.004
SAVE_EVERY = 50


@dataclass(slots=True)
class Progress:
    """Where a training stands; all of it is in state.pt."""

    stage: str = "search"
    step: int = 0
    best: float = -1.0
    stale: int = 0
    regression_steps: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training came to.

    Attributes:
        run: the run folder.
        images: how many were learnt from.
        skipped: what was left out.
        kind: `template` or `region`.
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
                state = checkpoint.load_state(folder)
                config = TrainConfig.from_toml(folder / "config.toml")
                found = Scan(read_images(folder), [])
            else:
                state = None
                config = config or TrainConfig()
                pick_device(config.device)
                if source is None:
                    raise InputError("no source given", todo="Name a folder of images")
                found = scan(source)
                require_images(found, source, 2)
            prepare_folder(folder, overwrite=overwrite, keep=resume)
            return _Training(folder, config, found, state, reporter, stop, begun).run()
    except torch.OutOfMemoryError as error:
        raise ResourceError("out of memory on the device", todo="Lower --batch or --imgsz, or use --device cpu") from error


class _Training:
    """One training; an object because its stages share cache, network and progress."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        found: Scan,
        state: dict[str, Any] | None,
        reporter: Reporter,
        stop: StopRequest,
        begun: float,
    ) -> None:
        self.folder, self.config, self.found, self.begun = folder, config, found, begun
        self.reporter, self.stop = reporter, stop
        self.device = pick_device(config.device)
        self.progress = Progress()
        torch.manual_seed(config.seed)
        self.grid = by_name(config.transform)
        self.transformer: SpatialTransformer = build_transformer(self.grid, CROP)
        self.encoder: Encoder = make_encoder(config.encoder, Path(config.weights) if config.weights else None, config.layer)
        self.transformer.to(self.device)
        self.encoder.to(self.device)
        self.result: SearchResult
        self.metrics = Metrics(folder)
        self.state = state
        self.amp = torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
        self._optimiser: torch.optim.Optimizer | None = None

    def run(self) -> TrainResult:
        """All stages, from where the state says."""
        self.cache = self._decode()
        self.cache.settle(self.device)
        if self.state is None:
            write_text(self.folder / "config.toml", f"# stn-coloc {stn_cli.__version__}\n" + self.config.toml())
            self.metrics.clear()
            (self.folder / checkpoint.MODEL).unlink(missing_ok=True)
            self._save()
        else:
            self._restore(self.state)
        if self.progress.stage == "search":
            self._search()
        if self.progress.stage == "regression":
            self._regress()
        if self.progress.stage == "finetune":
            self._finetune()
        self._calibrate()
        agreement = self._finish()
        return TrainResult(
            self.folder,
            len(self.cache),
            self.cache.skipped,
            self.result.kind,
            agreement,
            self.progress.warnings,
            time.monotonic() - self.begun,
        )

    def _decode(self) -> Cache:
        files = self.found.images
        self.reporter.stage("decode", len(files))
        side = canvas_side(files, self.config.imgsz)
        big = len(files) * side * side * 3 > 512 << 20
        path = self.folder / "cache.npy" if big else None
        cache = build_cache(
            files,
            side,
            path,
            workers=self.config.workers or default_workers(),
            max_pixels=self.config.max_pixels,
            progress=self._decoded,
        )
        cache.skipped[:0] = self.found.skipped
        write_skipped(self.folder, cache.skipped)
        if len(cache) < 2:
            raise InputError(
                "at least 2 usable images are needed",
                todo=f"{len(cache)} usable, {len(cache.skipped)} skipped: see skipped.jsonl",
            )
        pixels = cache.pixels
        if all(bool((pixels[i] == pixels[0]).all()) for i in range(1, len(cache))):
            raise InputError("all images are alike", todo="There is nothing to tell the object from its background by")
        kept = set(cache.names)
        write_images(self.folder, [f for f in files if f.name in kept])
        for name, note in cache.notes[:3]:
            self.reporter.warn(f"{name}: {note}")
        return cache

    def _decoded(self, count: int) -> None:
        self.reporter.advance(count)
        self.stop.check(f"Nothing was learnt yet: start again with --overwrite -o {self.folder}")

    def _search(self) -> None:
        self.reporter.stage("search", None)

        def heard(note: str) -> None:
            self.reporter.advance(1, note)
            self._check_stop()

        with torch.no_grad():
            self.result = search(self.cache, self.encoder, self.config, self.device, heard)
        for side, loss in self.result.curve:
            self.metrics.log({"stage": "search", "side": round(side, 4), "loss": loss})
        self.metrics.log(
            {
                "stage": "search",
                "kind": self.result.kind,
                "template_objective": self.result.template_objective,
                "contrast": self.result.contrast,
            }
        )
        self._warm_start()
        self._next_stage("regression")

    def _warm_start(self) -> None:
        localisation = self._localisation()
        index = torch.arange(len(self.cache))[:: max(1, len(self.cache) // 64)]
        localisation.standardise(self.cache.batch(index, self.device))
        sides = (self.result.boxes[:, 2:] - self.result.boxes[:, :2]) / 2
        localisation.begin_at(sides.clamp(min=1e-3).log().mean(0).exp())

    def _localisation(self) -> ImageLocalisation:
        assert isinstance(self.transformer.localisation, ImageLocalisation)
        return self.transformer.localisation

    def _next_stage(self, name: str) -> None:
        self.progress.stage, self.progress.step = name, 0
        self.progress.stale, self.progress.best = 0, -1.0
        self._optimiser = None
        self._save()

    def _optimise_with(self, share: float) -> torch.optim.Optimizer:
        if self._optimiser is None:
            groups = self.transformer.parameter_groups(self.config.lr * share, self.config.localisation_lr)
            self._optimiser = torch.optim.AdamW(groups, weight_decay=1e-4)
            for group in self._optimiser.param_groups:
                group["full"] = group["lr"]
        return self._optimiser

    def _regress(self) -> None:
        steps = self.config.steps
        self.reporter.stage("regression", steps)
        self.reporter.advance(self.progress.step)
        optimiser = self._optimise_with(1.0)
        parameters = list(self.transformer.parameters())
        mirror = self.result.kind == "region"
        while self.progress.step < steps:
            step = self.progress.step
            self._set_rate(optimiser, min(1.0, (step + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * step / steps)))
            g = step_generator(self.config.seed, step)
            with self.amp:
                sample = draw(self.cache, self.result.boxes, self.transformer, self.config.batch, g, mirror=mirror)
                loss = regression_loss(self._localisation().look(sample.images, sample.rectangles), sample)
            value, norm = descend(loss, optimiser, parameters, step, sample.names)
            self.progress.step += 1
            record: dict[str, Any] = {"stage": "regression", "step": step, "loss": value, "gradient": norm}
            note = f"loss {value:.3f}"
            if self.progress.step % CHECK_EVERY == 0:
                agreement = self._agreement()
                record["agreement"] = agreement
                note += f", agrees with the search {agreement:.2f}"
                gained = agreement > self.progress.best + LEAST_GAIN
                self.progress.stale = 0 if gained else self.progress.stale + 1
                self.progress.best = max(agreement, self.progress.best)
            self.metrics.log(record)
            self.reporter.advance(1, note)
            if self.progress.best >= AGREED or (self.progress.stale >= PATIENCE and self.progress.step >= LATE * steps):
                break
            self._checkpoint()
        self.progress.regression_steps = self.progress.step
        self._next_stage("finetune")

    def _set_rate(self, optimiser: torch.optim.Optimizer, share: float) -> None:
        for group in optimiser.param_groups:
            group["lr"] = group["full"] * share

    @torch.no_grad()
    def _agreement(self) -> float:
        theta = predict(self.transformer, self._probe(), self.device)
        boxes = self.result.boxes[: len(theta)]
        return float(box_iou(boxes_of(self.transformer, theta), boxes).mean())

    def _probe(self) -> Cache:
        """The first images of the set: enough to see whether the network agrees with the search."""
        most = 128
        c = self.cache
        resident = None if c.resident is None else c.resident[:most]
        return Cache(c.pixels[:most], c.frames[:most], c.names[:most], [], [], resident)

    def _finetune(self) -> None:
        steps = self.config.finetune
        self.reporter.stage("fine-tuning", steps)
        self.reporter.advance(self.progress.step)
        optimiser = self._optimise_with(0.1)
        parameters = list(self.transformer.parameters())
        mirror = self.result.kind == "region"
        if self.progress.step == 0:
            self.before = {k: v.clone() for k, v in self.transformer.state_dict().items()}
            self.objective_before = self._objective()
        while self.progress.step < steps:
            step = self.progress.step
            self._set_rate(optimiser, 1 - step / steps)
            g = step_generator(self.config.seed + 1, step)
            sample = draw(self.cache, self.result.boxes, self.transformer, self.config.batch, g, mirror=mirror)
            loss = finetune_loss(self.transformer, self.result.judge, sample, g, self.config.margin)
            value, norm = descend(loss, optimiser, parameters, step, sample.names)
            self.progress.step += 1
            self.metrics.log({"stage": "finetune", "step": step, "loss": value, "gradient": norm})
            self.reporter.advance(1, f"loss {value:.3f}")
            self._checkpoint()
        after = self._objective()
        kept = after <= self.objective_before
        self.metrics.log(
            {"stage": "finetune", "objective_before": self.objective_before, "objective_after": after, "kept": kept}
        )
        if not kept:
            self.transformer.load_state_dict(self.before)
        self._next_stage("calibrate")

    @torch.no_grad()
    def _objective(self) -> float:
        """The triplet objective of the transformer's crops over the first images, with the same random patches every time."""
        probe = self._probe()
        theta = predict(self.transformer, probe, self.device)
        matrix = self.grid.matrix(theta)[:, None]
        rectangles = probe.rectangles().to(self.device)
        images = probe.batch(torch.arange(len(probe)), self.device)
        box = boxes_of(self.transformer, theta)
        g = torch.Generator().manual_seed(self.config.seed)
        random = box_to_matrix(random_boxes(rectangles, PATCHES, box[:, 2:] - box[:, :2], g))
        return float(self.result.judge.loss(images, rectangles, matrix, random, self.config.margin))

    def _calibrate(self) -> None:
        self.reporter.stage("calibration", None)
        self.calibration, boxes = calibrate(self.transformer, self.result.judge, self.cache, self.device, self.config.seed)
        said = collapse(boxes, self.cache.rectangles().to(self.device))
        self.progress.warnings = [said] if said else []
        if said:
            self.reporter.warn(said)
            self.metrics.log({"stage": "calibrate", "warning": said})

    def _finish(self) -> float:
        agreement = self._agreement()
        self.metrics.log({"stage": "done", "agreement": agreement})
        judge = self.result.judge
        tensors = {f"transformer.{k}": v for k, v in self.transformer.state_dict().items()}
        tensors |= {f"judge.{k}": v for k, v in judge.state_dict().items()}
        tensors |= {f"calibration.{k}": v for k, v in self.calibration.state_dict().items()}
        facts = {
            "version": stn_cli.__version__,
            "transform": self.config.transform,
            "encoder": self.config.encoder,
            "layer": self.config.layer,
            "canvas": self.cache.canvas,
            "crop": CROP,
            "kind": judge.kind,
            "judge": dimensions(judge),
            "images": len(self.cache),
            "agreement": agreement,
            "warnings": self.progress.warnings,
        }
        checkpoint.save_model(self.folder, tensors, facts)
        self.progress.stage = "calibrate"
        self._save()
        (self.folder / "cache.npy").unlink(missing_ok=True)
        return agreement

    def _check_stop(self) -> None:
        self.stop.check(f"Go on with stn-coloc train --resume -o {self.folder}")

    def _checkpoint(self) -> None:
        stopping = bool(self.stop.signum)
        if stopping or self.progress.step % SAVE_EVERY == 0:
            self._save()
        self._check_stop()

    def _save(self) -> None:
        p = self.progress
        state: dict[str, Any] = {
            "version": stn_cli.__version__,
            "names": self.cache.names,
            "progress": [p.stage, p.step, p.best, p.stale, p.regression_steps, p.warnings],
            "transformer": self.transformer.state_dict(),
        }
        if p.stage != "search":
            r = self.result
            state["search"] = {
                "kind": r.kind,
                "dimensions": dimensions(r.judge),
                "judge": r.judge.state_dict(),
                "boxes": r.boxes,
                "curve": [list(pair) for pair in r.curve],
                "choice": [r.template_objective, r.contrast],
            }
        if self._optimiser is not None:
            state["optimiser"] = self._optimiser.state_dict()
        if p.stage == "finetune" and p.step > 0:
            state["before"] = {"weights": self.before, "objective": self.objective_before}
        checkpoint.save_state(self.folder, state)

    def _restore(self, state: dict[str, Any]) -> None:
        if state["names"] != self.cache.names:
            raise CheckpointError(
                "the images are not those that the run began with", self.folder, None, "Start anew with --overwrite"
            )
        self.progress = Progress(*state["progress"])
        self.transformer.load_state_dict(state["transformer"])
        if "search" in state:
            s = state["search"]
            judge = make_judge(s["kind"], s["dimensions"], self.encoder).to(self.device)
            judge.load_state_dict(s["judge"])
            curve = [(float(a), float(b)) for a, b in s["curve"]]
            self.result = SearchResult(s["kind"], judge, s["boxes"].to(self.device), curve, *s["choice"])
        if "optimiser" in state:
            optimiser = self._optimise_with(1.0)
            optimiser.load_state_dict(state["optimiser"])
        if "before" in state:
            self.before = {k: v.to(self.device) for k, v in state["before"]["weights"].items()}
            self.objective_before = state["before"]["objective"]
        self.metrics.trim(self.progress.stage, self.progress.step)
