"""What holds the run on the machines of a cluster: actors that find. What is slow to load is loaded when one is made."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stn_cli.errors import ResourceError
from stn_cli.formats.shards import Outcome, rows_of
from stn_cli.jobs.cluster.rows import found_rows
from stn_cli.version import __version__

HOPELESS = 10
"""Times that an actor was ended at the same images after which the job is given up."""


def times_begun() -> int:
    """How often the task of Ray that this is called in was begun before, because the process or the machine was ended.

    Returns:
        0 the first time.
    """
    from ray._private import worker

    core: Any = getattr(worker.global_worker, "core_worker", None)
    asked = getattr(core, "get_current_task_attempt_number", None)
    return int(asked()) if asked is not None else 0


@dataclass(frozen=True, slots=True)
class Finding:
    """How actors find.

    Attributes:
        min_score: objects below it are left out; the model's own least score where none is given.
        batch: images per call of the network.
        device: for the model.
        names: of the kinds of objects.
        version: of the package that the job was started with.
    """

    min_score: float | None
    batch: int
    device: str
    names: tuple[str, ...]
    version: str = field(default=__version__)


class FindingActor:
    """An actor of Ray Data: holds a run, and finds its objects in chunks of decoded images.

    Args:
        files: the content of the run's files, in the object store.
        names: of the files: the model's, and that of the fast network where it is to look.
        how: to find.

    Raises:
        ResourceError: this machine has another version of the package, or not the device.
    """

    def __init__(self, files: Any, names: Sequence[str], how: Finding) -> None:
        import ray
        import torch

        from stn_cli.coloc.model.localiser import Localiser

        if how.version != __version__:
            raise ResourceError("stn-coloc differs between machines", __version__, f"the job is of {how.version}")
        torch.set_num_threads(1)  # as many bits as on one machine with one thread; there are as many actors as processors
        self._how = how
        with tempfile.TemporaryDirectory() as folder:
            for name, content in zip(names, files, strict=True):
                (Path(folder) / name).write_bytes(ray.get(content))
            localiser = Localiser.load(folder, how.device)
            self._localiser = localiser.fast() if len(names) > 1 else localiser

    def __call__(self, batch: Any) -> Any:
        """Rows with decoded chunks become rows with found ones.

        Args:
            batch: a table as `decode_pieces` makes it.

        Returns:
            A table as `found_rows` makes it.

        Raises:
            ResourceError: processes end again and again at these images.
        """
        from stn_cli.coloc.model.many import localise_loaded
        from stn_cli.media.cache import Letterbox

        if times_begun() >= HOPELESS:
            todo = "Lower --batch, or use machines with more memory"
            raise ResourceError("workers end again and again at the same images", todo=todo)
        how = self._how
        rows = []
        for chunk, content in zip(batch.column("chunk").to_pylist(), batch.column("content"), strict=True):
            numbers, loaded = pickle.loads(content.as_buffer())
            items, _ = localise_loaded(self._localiser, loaded, how.min_score, how.batch)
            notes = [(c.file.name, c.note) for c in loaded if isinstance(c, Letterbox) and c.note]
            rows.append((chunk, rows_of(items, numbers, how.names), Outcome.of(items), notes))
        return found_rows(rows)
