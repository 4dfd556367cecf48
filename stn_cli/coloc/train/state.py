"""Where a training stands: all that it has learnt so far, and nothing else; as a dictionary it is state.pt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stn_cli.coloc.model.finder import Finder, ImageLocalisation, make_finder
from stn_cli.coloc.score.kinds import Kind
from stn_cli.coloc.score.object_search import share_of
from stn_cli.coloc.score.scorers import dimensions, make_scorer
from stn_cli.coloc.search.background import Background
from stn_cli.coloc.train.augment import Augmenter
from stn_cli.coloc.train.checks import check_optimiser, check_state
from stn_cli.coloc.train.optimise import make_optimiser
from stn_cli.coloc.train.settings import CORRECTIONS
from stn_cli.encoders import Encoder
from stn_cli.instances.proposer import Proposer
from stn_cli.media.cache import Cache
from stn_cli.runs.config import TrainConfig
from stn_cli.stn import SpatialTransformer
from stn_cli.version import __version__


@dataclass(slots=True)
class Before:
    """What a fine-tuning began from, and goes back to where it does not help.

    Attributes:
        weights: of the transformer.
        objective: of its crops.
    """

    weights: dict[str, Tensor]
    objective: float


@dataclass(slots=True)
class RunState:
    """A training between two steps.

    Attributes:
        stage: `search`, `corrections`, `regression`, `finetune` or `calibrate`.
        number: which kind of object is learnt, the first is 0.
        level: which level of its finder.
        step: of this stage, the next one.
        best: highest agreement with the search in this stage, mean IoU.
        stale: looks at the agreement since it last rose.
        warnings: what is suspicious about the result.
        kinds: what the search found.
        options: of each kind's transformation.
        finders: one for each kind.
        optimiser: of the transformer that is being trained; None between two stages.
        before: what this fine-tuning began from.
        again: it goes on from a finished run: the finders have learnt before.
    """

    stage: str = "search"
    number: int = 0
    level: int = 0
    step: int = 0
    best: float = -1.0
    stale: int = 0
    warnings: list[str] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    options: list[dict[str, float]] = field(default_factory=list)
    finders: list[Finder] = field(default_factory=list)
    optimiser: torch.optim.Optimizer | None = None
    before: Before | None = None
    again: bool = False

    @property
    def kind(self) -> Kind:
        """What is being learnt."""
        return self.kinds[self.number]

    @property
    def finder(self) -> Finder:
        """The finder that is being trained."""
        return self.finders[self.number]

    @property
    def transformer(self) -> SpatialTransformer:
        """The transformer that is being trained."""
        return self.finder.transformer(self.level)

    @property
    def localisation(self) -> ImageLocalisation:
        """Its f_loc."""
        return self.finder.localisation(self.level)

    def enter(self, stage: str) -> None:
        """Stand before the first step of a stage."""
        self.stage, self.step, self.best, self.stale = stage, 0, -1.0, 0
        self.optimiser = self.before = None

    def optimise(self, config: TrainConfig, share: float) -> torch.optim.Optimizer:
        """The optimiser of this stage, a new one where it has none yet; `share` is of the base rate."""
        if self.optimiser is None:
            self.optimiser = make_optimiser(self.transformer, config, share)
        return self.optimiser

    def augmenter(self, cache: Cache, batch: int, number: int, level: int) -> Augmenter:
        """What a level of a finder learns from.

        Args:
            cache: the images.
            batch: how many are drawn for a step.
            number: of the kind.
            level: of its finder.
        """
        finder = self.finders[number]
        transform, reader = finder.transformer(level).transform, finder.localisation(level).reader
        return Augmenter(cache, self.kinds[number], transform, finder.reduction, level > 0, batch, reader.hideable)

    def build_finders(self, config: TrainConfig, options: list[dict[str, float]], device: torch.device) -> None:
        """Make a finder for each kind, with nothing learnt yet.

        Args:
            config: `seed`, `transform` and `cascade` are used.
            options: of each kind's transformation.
            device: that they shall work on.
        """
        torch.manual_seed(config.seed)
        self.options = options
        for kind, option in zip(self.kinds, options, strict=True):
            finder = make_finder(config.transform, option, kind.boxes.shape[1], config.cascade, kind.scorer)
            self.finders.append(finder.to(device))

    def steps(self, config: TrainConfig) -> int:
        """How many steps this stage has, regression or fine-tuning; fewer where the finder's crop is one candidate among many."""
        whole = config.finetune if self.stage == "finetune" else config.steps
        whole = -(-whole // CORRECTIONS.share_of_steps) if self.again else whole
        return whole if self.kind.proposer is None else share_of(whole)

    def title(self, stage: str, config: TrainConfig) -> str:
        """A stage's name for people: which of several kinds and levels it is about."""
        of = [(self.number, len(self.finders), "kind"), (self.level, config.cascade, "level")]
        return stage + "".join(f", {what} {i + 1} of {n}" for i, n, what in of if n > 1)

    def row(self, **values: Any) -> dict[str, Any]:
        """A line of the log about this stage."""
        return {"stage": self.stage, "object": self.number, "level": self.level, **values}

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """The state as plain values and tensors, for `checkpoint.save_state`.

        Args:
            names: of the N images that are learnt from.

        Returns:
            What `from_dict` takes. Before the search has ended there are no kinds in it.
        """
        saved: dict[str, Any] = {
            "version": __version__,
            "names": list(names),
            "again": self.again,
            "progress": [self.stage, self.number, self.level, self.step, self.best, self.stale, self.warnings],
        }
        if self.stage != "search":
            saved["kinds"] = [_kind_to_dict(*of) for of in zip(self.kinds, self.options, self.finders, strict=True)]
        if self.optimiser is not None:
            saved["optimiser"] = self.optimiser.state_dict()
        if self.before is not None:
            saved["before"] = {"weights": self.before.weights, "objective": self.before.objective}
        return saved

    @classmethod
    def from_dict(
        cls, saved: dict[str, Any], config: TrainConfig, encoder: Encoder, images: int, device: torch.device
    ) -> RunState:
        """A state as it was saved; what is given may be of any origin.

        Args:
            saved: as `to_dict` gives it.
            config: the run's settings.
            encoder: of the run, on `device`.
            images: N, how many are learnt from.
            device: to work on.

        Returns:
            The state.

        Raises:
            ValueError: it is none of a training with these settings; the text says what is wrong. Networks that do not fit raise other
                errors too (KeyError, TypeError, RuntimeError, UsageError).
        """
        check_state(saved, config, images)
        state = cls(*saved["progress"])
        state.again = saved.get("again", False)
        kinds = saved.get("kinds", [])
        state.kinds = [_kind_from_dict(kind, encoder, device) for kind in kinds]
        if kinds:
            state.build_finders(config, [kind["options"] for kind in kinds], device)
        for finder, kind in zip(state.finders, kinds, strict=True):
            finder.load_state_dict(kind["finder"])
        if kinds and "optimiser" in saved:
            optimiser = state.optimise(config, 1.0)
            check_optimiser(saved["optimiser"], optimiser)
            optimiser.load_state_dict(saved["optimiser"])
        if state.stage == "finetune" and state.step > 0:
            weights = {name: value.to(device) for name, value in saved["before"]["weights"].items()}
            state.before = Before(weights, saved["before"]["objective"])
        return state


def _kind_to_dict(kind: Kind, options: dict[str, float], finder: Finder) -> dict[str, Any]:
    return {
        "kind": kind.kind,
        "dimensions": dimensions(kind.scorer),
        "scorer": kind.scorer.state_dict(),
        "places": [kind.boxes, kind.angles, kind.present],
        "curve": [list(pair) for pair in kind.curve],
        "choice": [kind.rigid_objective, kind.contrast, kind.common],
        "options": options,
        "finder": finder.state_dict(),
        "proposer": {} if kind.proposer is None else kind.proposer.weights(),
        "background": {} if kind.background is None else kind.background.state_dict(),
    }


def _kind_from_dict(saved: dict[str, Any], encoder: Encoder, device: torch.device) -> Kind:
    scorer = make_scorer(saved["kind"], saved["dimensions"], encoder).to(device)
    scorer.load_state_dict(saved["scorer"])
    boxes, angles, present = (places.to(device) for places in saved["places"])
    curve = [(float(side), float(loss)) for side, loss in saved["curve"]]
    proposer = None
    if saved.get("proposer"):
        proposer = Proposer(loaded=False)
        proposer.load_weights(saved["proposer"])
        proposer.to(device)
    background = None
    if saved.get("background"):
        background = Background(len(saved["background"]["pictures"]))
        background.load_state_dict(saved["background"])
        background.to(device)
    objective, contrast, common = saved["choice"]
    return Kind(saved["kind"], scorer, boxes, angles, present, curve, objective, contrast, common, proposer, background)
