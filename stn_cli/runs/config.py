"""Settings of a training, and their bounds."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import tomli_w

from stn_cli.bounds import check_shared, check_text, check_within, flag, shown
from stn_cli.errors import CheckpointError, InputError, UsageError
from stn_cli.media.decode import MAX_PIXELS
from stn_cli.reading import read_plain
from stn_cli.runs import older
from stn_cli.stn.transforms import TRANSFORMS

FILE = "config.toml"
"""Name of the settings in a run folder."""
MOST_BYTES = 1 << 20
"""Of a file of settings."""
MOST_KINDS = 16
"""Kinds of objects in one model, and objects in each image of one that is told by its edges: each takes a search."""
MOST_OBJECTS = 300
"""Objects of one kind in one image, where they are chosen among proposals."""
SEARCHES = ("auto", "rigid", "deformable")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Every setting of a training; the defaults are the ones that the figures in docs/benchmarks.md were made with.

    Attributes:
        encoder: `small`, `gradient`, a torchvision network, `dino_*`, or a folder that `stn-coloc pretrain` made.
        weights: file with the encoder's weights; empty for the published ones.
        layer: layer of the encoder whose map is taken; empty for the last one of stride 16.
        transform: T_theta of the crops, a name of `stn_cli.stn.TRANSFORMS`; those that turn are searched for at all angles.
        objects: of the common kind in each image, at most; 0 for all that there are, which `auto` stands for, too.
        kinds: of objects that are looked for, each of them in every image.
        cascade: levels from coarse to fine; each sees twice the resolution of the one before.
        search: `rigid` (a thing that keeps its form), `deformable` (one that does not), or `auto`.
        size: smallest and largest side of the object as shares of the image's longer side; (0, 0) finds it.
        imgsz: longer side at which images are looked at, pixels.
        margin: alpha of the triplet loss, in units of the mean squared norm of embeddings.
        steps: optimiser steps of the regression at most; it ends by itself when it has converged. A quarter where objects are proposed.
        finetune: optimiser steps that lower the loss of the transformer's own crops. A quarter where objects are proposed.
        search_images: images that the search looks at, drawn at random; the others are labelled with what it found. Of more images than all
            steps draw as many as they draw are labelled and learnt from, drawn at random (`stn_cli.coloc.train.sample`).
        batch: images per step.
        lr: base learning rate.
        localisation_lr: share of the base rate at which f_loc learns.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        seed: of the random numbers.
        workers: decoding threads; 0 is one per core.
        max_pixels: images with more pixels are skipped.
    """

    encoder: str = "small"
    weights: str = ""
    layer: str = ""
    transform: str = "box"
    objects: int = 0
    kinds: int = 1
    cascade: int = 1
    search: str = "auto"
    size: tuple[float, float] = (0.0, 0.0)
    imgsz: int = 128
    margin: float = 1.0
    steps: int = 400
    finetune: int = 40
    search_images: int = 160
    batch: int = 32
    lr: float = 0.03
    localisation_lr: float = 0.1
    device: str = "auto"
    seed: int = 0
    workers: int = 0
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        for name in _TEXTS:
            check_text(flag(name), getattr(self, name))
        if not self.encoder:
            raise UsageError("--encoder must name an encoder", self.encoder)
        if self.transform not in TRANSFORMS:
            raise UsageError("unknown --transform", shown(self.transform), f"known: {', '.join(TRANSFORMS)}")
        if self.search not in SEARCHES:
            raise UsageError("unknown --search", shown(self.search), f"known: {', '.join(SEARCHES)}")
        check_size(self.size)
        for name, least, most in _BOUNDS:
            check_within(flag(name), getattr(self, name), least, most, whole=isinstance(_DEFAULTS[name], int))
        check_shared(seed=self.seed, workers=self.workers, max_pixels=self.max_pixels)
        if self.transform == "structured" and self.kinds > 1:
            why = "its basis is learned anew for each kind of object, and a record does not say the kind"
            raise UsageError("--transform structured finds one kind of object", f"--kinds {self.kinds}", why)

    def toml(self) -> str:
        """The settings as a TOML file that `from_toml` reads back."""
        return tomli_w.dumps(asdict(self))

    @classmethod
    def read(cls, values: dict[str, Any], origin: str) -> TrainConfig:
        """A configuration from plain values.

        Raises:
            UsageError: a name that is no setting, or a value of the wrong kind; the nearest right name is given.
        """
        import difflib

        known = {f.name: f for f in fields(cls)}
        clean: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise UsageError(f"unknown setting in {origin}", shown(name), f"nearest: {near[0]}" if near else None)
            clean[name] = _as_default(name, 0 if (name, value) == ("objects", "auto") else value, origin)
        if "search" in clean:
            clean["search"] = older.SEARCHES.get(clean["search"], clean["search"])
        return cls(**clean)

    @classmethod
    def from_toml(cls, path: Path) -> TrainConfig:
        """Read a file that `toml` wrote, or a person.

        Raises:
            InputError: it cannot be read or is not TOML.
            UsageError: a setting is wrong.
        """
        return cls.read(read_toml(path), str(path))

    @classmethod
    def of_run(cls, folder: Path) -> TrainConfig:
        """The settings of a run.

        Raises:
            CheckpointError: they are missing, damaged, or not those of this version.
        """
        if not (folder / FILE).exists():
            raise CheckpointError("no run there", folder, f"it has no {FILE}", "Name a folder that stn-coloc train wrote")
        try:
            return cls.from_toml(folder / FILE)
        except (InputError, UsageError) as error:
            raise CheckpointError(
                "run without usable settings", folder / FILE, error, "Train again with --overwrite"
            ) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file; a byte order mark, as some editors write one, is left out.

    Args:
        path: the file.

    Returns:
        Its values by name.

    Raises:
        InputError: it cannot be read, is no plain file, is larger than settings are, or is not TOML.
    """
    try:
        return tomllib.loads(read_plain(path, MOST_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise InputError("cannot read configuration", path, error.strerror) from error
    except (ValueError, RecursionError) as error:  # TOML's own errors are of the first kind, as are numbers too long to read
        why = "nested too deeply" if isinstance(error, RecursionError) else shown(error)
        raise InputError("not a TOML file", path, why) from error


def check_size(size: object) -> None:
    """See that the sides of an object are two shares of an image's, the smaller one first; (0, 0) stands for any.

    Args:
        size: the setting's value, of any type.

    Raises:
        UsageError: they are not.
    """
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise UsageError("--size must be two numbers", shown(size))
    low, high = size
    for side in size:
        check_within("each side of --size", side, 0.0, 1.0)
    if (low, high) != (0.0, 0.0) and not 0.02 <= low <= high:
        raise UsageError("--size must be LO-HI with 0.02 <= LO <= HI <= 1", f"{low:g}-{high:g}")


def _as_default(name: str, value: Any, origin: str) -> Any:
    """A plain value as the type that the setting has.

    Raises:
        UsageError: it is of another kind.
    """
    default = _DEFAULTS[name]
    if isinstance(default, tuple):
        numbers = list(value) if isinstance(value, list | tuple) else []
        if len(numbers) != len(default) or not all(type(v) in (int, float) for v in numbers):
            raise UsageError(f"setting {name} in {origin} must be a list of {len(default)} numbers", shown(value))
        return tuple(_as_float(name, v, origin) for v in numbers)
    if isinstance(default, float) and type(value) is int:
        return _as_float(name, value, origin)
    if type(value) is not type(default):
        raise UsageError(f"setting {name} in {origin} must be a {type(default).__name__}", shown(value))
    return value


def _as_float(name: str, value: float, origin: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise UsageError(f"setting {name} in {origin} is too large", shown(value)) from None


_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(TrainConfig)}
_TEXTS = tuple(name for name, value in _DEFAULTS.items() if isinstance(value, str))
_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("objects", 0, MOST_OBJECTS),
    ("kinds", 1, MOST_KINDS),
    ("cascade", 1, 4),
    ("imgsz", 32, 2048),
    ("margin", 0.0, 100.0),
    ("steps", 0, 10_000_000),
    ("finetune", 0, 10_000_000),
    ("search_images", 2, 100_000),
    ("batch", 2, 65_536),
    ("lr", 1e-8, 10.0),
    ("localisation_lr", 1e-6, 1.0),
)
