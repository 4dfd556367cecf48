"""A run as an ONNX file: what it cannot say is refused, and the rest is traced once, for any number of pictures of any size."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch

from stn_cli.coloc.graph.finder_graph import FinderGraph
from stn_cli.coloc.graph.suppression import in_onnx
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.encoders import PretrainedEncoder
from stn_cli.errors import InputError, ResourceError
from stn_cli.version import __version__

OPSET = 18
PRODUCER = "stn-coloc"
INPUT, OUTPUTS = "images", ("boxes", "scores", "kinds", "quads")
EXAMPLE = (2, 70, 90, 3)
"""Shape of the pictures that the graph is traced with; no two sides are alike, so that none is taken for another."""


def require_onnx() -> None:
    """See that ONNX can be written, before anything is computed.

    Raises:
        ResourceError: a package is not installed.
    """
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise ResourceError("ONNX needs a package that is not installed", package, todo="pip install 'stn-coloc[onnx]'")


def finder_as_onnx(localiser: Localiser, names: Sequence[str], least: float) -> bytes:
    """A run as an ONNX model.

    Args:
        localiser: of the run, on the CPU.
        names: of the kinds of objects, in their order.
        least: score below which an object is left out.

    Returns:
        The file's content.

    Raises:
        InputError: the run has a part that no graph can hold.
        ResourceError: a package is not installed.
    """
    require_onnx()
    _check_parts(localiser)
    graph = FinderGraph(localiser.parts, localiser.letterbox, localiser.coarse, least).eval()
    dynamic = dict.fromkeys((0, 1, 2), torch.export.Dim.DYNAMIC)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            graph,
            (torch.zeros(EXAMPLE, dtype=torch.uint8),),
            input_names=[INPUT],
            output_names=OUTPUTS,
            dynamic_shapes=(dynamic,),
            opset_version=OPSET,
            custom_translation_table=in_onnx(),
            dynamo=True,
            verbose=False,
            optimize=False,
        )
    assert program is not None
    model = program.model
    _tidy(model)
    model.producer_name, model.producer_version = PRODUCER, __version__
    model.metadata_props.update(
        {"names": json.dumps(list(names)), "letterbox": str(localiser.letterbox), "least": f"{least:g}"}
    )
    return program.model_proto.SerializeToString()


def _tidy(model: Any) -> None:
    """Fold constants and leave out what is there twice.

    The exporter's own optimiser would do more, and takes `x + 1e-10` for x: where an image has no edge 0 / 0 would be left.
    """
    from onnx_ir.passes import Sequential, common
    from onnxscript.optimizer import fold_constants

    passes: Any = common
    passes.InlinePass()(model)
    fold_constants(model)
    Sequential(
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedFunctionsPass(),
        passes.RemoveUnusedOpsetsPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.OutputFixPass(),
        passes.NameFixPass(),
    )(model)


def _check_parts(localiser: Localiser) -> None:
    """See that a graph can hold the run.

    Raises:
        InputError: it cannot.
    """
    why = None
    if any(part.background is not None for part in localiser.parts):
        why = "it compares images with the backgrounds of fixed cameras"
    elif any(isinstance(part.scorer.encoder, PretrainedEncoder) for part in localiser.parts):
        why = "its encoder is another project's network"
    if why:
        raise InputError(
            "this run cannot be exported as ONNX", localiser.run, why, "Use stn-coloc localise, or stn_cli.Localiser"
        )
