"""Find the common object of a folder of images, without labels.

    import stn_cli

    stn_cli.train("images", "run")
    localiser = stn_cli.Localiser.load("run")
    print(localiser.localise("images/000.jpg"))

Names are imported when they are first used: `import stn_cli` loads neither torch nor cv2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stn_cli.version import __version__

if TYPE_CHECKING:
    from stn_cli.coloc.model.localiser import Localiser
    from stn_cli.coloc.model.masked import with_masks
    from stn_cli.coloc.train.run import TrainResult
    from stn_cli.data_sets.options import ExportOptions
    from stn_cli.errors import ColocError
    from stn_cli.evaluate import score_boxes
    from stn_cli.jobs.export import export_boxes
    from stn_cli.jobs.localise import localise_source
    from stn_cli.jobs.localise_options import LocaliseOptions
    from stn_cli.jobs.track import TrackOptions, track_source
    from stn_cli.jobs.train import train
    from stn_cli.records import ImageRecord, Localisation, Skipped
    from stn_cli.report.page import write_report
    from stn_cli.run_lengths import decode_mask
    from stn_cli.runs.config import TrainConfig
    from stn_cli.stn import SpatialTransformer

_HOMES = {
    "ColocError": "stn_cli.errors",
    "ExportOptions": "stn_cli.data_sets.options",
    "ImageRecord": "stn_cli.records",
    "Localisation": "stn_cli.records",
    "LocaliseOptions": "stn_cli.jobs.localise_options",
    "Localiser": "stn_cli.coloc.model.localiser",
    "Skipped": "stn_cli.records",
    "SpatialTransformer": "stn_cli.stn",
    "TrackOptions": "stn_cli.jobs.track",
    "TrainConfig": "stn_cli.runs.config",
    "TrainResult": "stn_cli.coloc.train.run",
    "score_boxes": "stn_cli.evaluate",
    "decode_mask": "stn_cli.run_lengths",
    "export_boxes": "stn_cli.jobs.export",
    "localise_source": "stn_cli.jobs.localise",
    "track_source": "stn_cli.jobs.track",
    "train": "stn_cli.jobs.train",
    "with_masks": "stn_cli.coloc.model.masked",
    "write_report": "stn_cli.report.page",
}

__all__ = [
    "ColocError",
    "ExportOptions",
    "ImageRecord",
    "Localisation",
    "LocaliseOptions",
    "Localiser",
    "Skipped",
    "SpatialTransformer",
    "TrackOptions",
    "TrainConfig",
    "TrainResult",
    "__version__",
    "decode_mask",
    "export_boxes",
    "localise_source",
    "score_boxes",
    "track_source",
    "train",
    "with_masks",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stn_cli' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # a submodule of the same name must not come back in its place
    return value


def __dir__() -> list[str]:
    """The names that completion shows, also before they are first used, and none that this file needs for itself."""
    return sorted(__all__)
