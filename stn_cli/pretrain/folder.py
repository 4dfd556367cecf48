"""From a folder of images to an encoder of one's own: what `stn-coloc pretrain` does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import stn_cli
from stn_cli.coloc.device import pick_device
from stn_cli.coloc.encoders.small import FILE, SmallEncoder, write_encoder
from stn_cli.coloc.reporting import Reporter, Silent
from stn_cli.coloc.stopping import StopRequest
from stn_cli.errors import CheckpointError, InputError, ResourceError
from stn_cli.files import prepare_folder
from stn_cli.media.cache import build_cache, canvas_side, default_workers
from stn_cli.media.decode import MAX_PIXELS
from stn_cli.media.scan import require_images, scan
from stn_cli.pretrain.selfsupervised import Recipe, train_selfsupervised
from stn_cli.pretrain.state import NAME
from stn_cli.records import Skipped
from stn_cli.runfolder import write_skipped

LEAST = 16
"""Images below which two views of a few pictures teach nothing."""


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """What a pretraining came to: the folder holds `encoder.safetensors`."""

    folder: Path
    images: int
    skipped: list[Skipped]
    loss: float
    seconds: float


def pretrain_folder(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str] = "stn-coloc-encoder",
    recipe: Recipe | None = None,
    *,
    imgsz: int = 192,
    scratch: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    device: str = "auto",
    workers: int | None = None,
    max_pixels: int | None = None,
    reporter: Reporter | None = None,
) -> PretrainResult:
    """Learn an encoder from images alone.

    Args:
        source: see `stn_cli.media.scan.scan`.
        out: the encoder's folder.
        recipe: how long and how fast; a resumed training needs the same.
        imgsz: longer side that images are reduced to, pixels.
        scratch: begin from no weights instead of the package's own.
        overwrite: what is in the folder may be replaced.
        resume: go on with what is in the folder.
        device: for the network.
        workers: decoding threads.
        max_pixels: images with more are skipped.
        reporter: hears of progress.

    Raises:
        InputError: too few usable images.
        OutputError: the folder cannot be used.
        CheckpointError: nothing to resume, or damaged.
        Interrupted: a signal came; it can be resumed.
        ResourceError: no such device, or out of memory.
    """
    reporter, recipe, folder, begun = reporter or Silent(), recipe or Recipe(), Path(out), time.monotonic()
    target = pick_device(device)
    found = scan(source)
    require_images(found, source, LEAST)
    if resume and not (folder / NAME).is_file():
        raise CheckpointError("nothing to resume", folder, f"no {NAME}", "Start without --resume")
    prepare_folder(folder, overwrite=overwrite, keep=resume)
    if not resume:
        (folder / NAME).unlink(missing_ok=True)
        (folder / FILE).unlink(missing_ok=True)
    try:
        with StopRequest() as stop:
            reporter.stage("decode", len(found.images))
            side = canvas_side(found.images, imgsz)
            path = folder / "cache.npy" if len(found.images) * side * side * 3 > 512 << 20 else None
            cache = build_cache(
                found.images, side, path, workers=workers or default_workers(), max_pixels=max_pixels or MAX_PIXELS,
                progress=reporter.advance,
            )  # fmt: skip
            cache.skipped[:0] = found.skipped
            write_skipped(folder, cache.skipped)
            if len(cache) < LEAST:
                why = f"{len(cache)} usable, {len(cache.skipped)} skipped: see skipped.jsonl"
                raise InputError(f"at least {LEAST} usable images are needed", todo=why)
            cache.settle(target)
            start = None if scratch else SmallEncoder().network
            network, loss = train_selfsupervised(cache, folder, recipe, target, start, reporter, stop)
            facts = {
                "recipe": "self-supervised",
                "from": "scratch" if scratch else "small",
                "version": stn_cli.__version__,
                "pictures": len(cache),
                **asdict(recipe),
            }
            write_encoder(folder / FILE, network, None, facts)
    except torch.OutOfMemoryError as error:
        raise ResourceError("out of memory on the device", todo="Lower --batch or --view, or use --device cpu") from error
    finally:
        (folder / "cache.npy").unlink(missing_ok=True)
    return PretrainResult(folder, len(cache), cache.skipped, loss, time.monotonic() - begun)
