"""What every stage of a training works with: settings, images, encoder, log, and whom it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from stn_cli.coloc.annotations import Annotations
from stn_cli.coloc.train.settings import SAVE_EVERY
from stn_cli.coloc.train.state import RunState
from stn_cli.encoders import Encoder
from stn_cli.errors import Interrupted
from stn_cli.media.cache import Cache
from stn_cli.outputs.results import Results
from stn_cli.records import AnnotatedImage
from stn_cli.runs import checkpoint
from stn_cli.runs.annotations import annotations_digest
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.metrics import Metrics
from stn_cli.runtime.distributed import ALONE, Team
from stn_cli.runtime.progress import Reporter
from stn_cli.runtime.stopping import StopRequest


@dataclass(slots=True)
class Context:
    """The surroundings of a training, the same in every stage.

    Attributes:
        results: the run folder, as it will be.
        folder: the folder that is worked in until the run is whole.
        config: the settings.
        device: that networks work on.
        encoder: gives the embeddings.
        cache: N images at the size that the transformer looks at.
        large: the same images, larger, for the search; None after it.
        closely: longer side of `large`, pixels.
        annotations: a person's, of some of the images.
        metrics: the log.
        reporter: is told of progress.
        stop: whether a signal came.
        team: processes that train together; the first one writes.
    """

    results: Results
    folder: Path
    config: TrainConfig
    device: torch.device
    encoder: Encoder
    cache: Cache
    large: Cache | None
    closely: int
    annotations: Sequence[AnnotatedImage]
    metrics: Metrics
    reporter: Reporter
    stop: StopRequest
    team: Team = ALONE

    def annotations_of(self, kind: int) -> Annotations | None:
        """The annotations of a kind of object; None where there are none."""
        if not self.annotations:
            return None
        return Annotations.of(self.annotations, self.cache.names, self.cache.frames, kind if self.config.kinds > 1 else None)

    def save(self, state: RunState) -> None:
        """Write the state to the disk; from here on a stopped training can be resumed."""
        if not self.team.first:
            return
        more = {"annotations": annotations_digest(self.folder), "letterboxes": [self.cache.letterbox, self.closely]}
        checkpoint.save_state(self.folder, state.to_dict(self.cache.names) | more)
        say_how_to_go_on(self.results, self.stop, state.stage)

    def enter(self, state: RunState, stage: str) -> None:
        """Begin a stage, and save.

        Args:
            state: of the training.
            stage: its name.
        """
        state.enter(stage)
        self.save(state)

    def checkpoint(self, state: RunState) -> None:
        """Between two steps: save now and then, and at once where the training shall stop.

        Raises:
            Interrupted: a signal came.
        """
        signum = self.team.largest(self.stop.signum)  # all of them stop after the same step
        if signum or state.step % SAVE_EVERY == 0:
            self.save(state)
        self.stop.check()
        if signum:
            raise Interrupted(signum, self.stop.todo)


def say_how_to_go_on(results: Results, stop: StopRequest, stage: str = "") -> None:
    """Call it when a state is on the disk: unfinished work is kept from now on, and a training that is stopped says how to go on.

    Args:
        results: the run folder.
        stop: is given the sentence to say.
        stage: that would be gone on with; empty where that is not known yet.
    """
    results.keep = True
    again = "; the search begins anew" if stage == "search" else ""
    stop.todo = f"Go on with stn-coloc train --resume -o {results.folder}{again}"
