"""From a run to an ONNX file: what `stn-coloc export RUN --format onnx` does."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stn_cli.coloc.graph.write import PRODUCER, finder_as_onnx, require_onnx
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.errors import OutputError
from stn_cli.files import write_bytes
from stn_cli.formats.labels import names_of_kinds
from stn_cli.outputs.places import Place
from stn_cli.outputs.targets import TargetKind, check_target
from stn_cli.runtime.progress import Reporter, Silent

ONNX_FILE = TargetKind("a file of stn-coloc export --format onnx", "--out", lambda head: PRODUCER.encode() in head[:32])


@dataclass(frozen=True, slots=True)
class OnnxSummary:
    """What came of it.

    Attributes:
        out: the file.
        size: of the file, bytes.
        letterbox: side at which pictures are looked at, pixels.
        names: of the kinds of objects.
        seconds: of the whole call.
    """

    out: Path
    size: int
    letterbox: int
    names: tuple[str, ...]
    seconds: float


def export_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    min_score: float | None = None,
    labels: Sequence[str] = (),
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> OnnxSummary:
    """Write the whole of a run, with its scorer and calibration, as one ONNX file.

    Args:
        run: the run folder.
        out: the file.
        min_score: objects below it are left out; what the model takes for none when left out.
        labels: names of the kinds of objects.
        overwrite: such a file of an earlier call may be replaced.
        reporter: is told of progress.

    Returns:
        What came of it.

    Raises:
        CheckpointError: the run has no usable model.
        InputError: the run has a part that no graph can hold.
        OutputError: the file cannot be written.
        ResourceError: a package is not installed.
    """
    begun, target, reporter = time.monotonic(), Path(out), reporter or Silent()
    require_onnx()
    localiser = Localiser.load(run, "cpu")
    names = tuple(names_of_kinds(tuple(labels), len(localiser.parts)))
    if Place.of(target).is_below(Place.of(Path(run))):
        raise OutputError("cannot write into", target, "the run's folder holds the run alone", "Choose another --out")
    check_target(target, ONNX_FILE, [run], overwrite=overwrite)
    reporter.stage("trace", None)
    data = finder_as_onnx(localiser, names, localiser.least if min_score is None else min_score)
    write_bytes(target, data)
    return OnnxSummary(target, len(data), localiser.letterbox, names, time.monotonic() - begun)
