"""The numbers that steer the search, each with its unit, what was tried, and where in docs/experiments.md it was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from stn_cli.provenance import setting


@dataclass(frozen=True)
class RigidSettings:
    """The search for a rigid thing, `rigid.py`."""

    restarts: int = setting(32, "prototypes that are searched from at once")
    rounds: int = setting(20, "rounds of crops from prototypes and prototypes from crops, at most")
    random_patches: int = setting(16, "random patches of each image that crops are compared with")
    least_side: float = setting(
        0.125, "smallest side that is tried, share of the letterbox", tried=".16 to .56", measured="Rigid search: which size"
    )
    side_step: float = setting(
        1.122, "each side is this many times the one before: six to a doubling", measured="one step (12 %) inside"
    )
    sides: int = setting(17, "how many sides are tried: up to .79")
    most_windows: int = setting(40, "windows along a side of an image; of more, every second or third is taken")
    most_turned: int = setting(24, "the same for turned windows, which are sixteen times as many")
    turns: int = setting(16, "angles that crops are tried at, all around", measured="windows at 16 angles")
    turned_images: int = setting(64, "images that a search over angles looks at: its windows are sixteen times as many")
    stretches: tuple[float, ...] = setting(
        (0.79, 0.89, 1.0, 1.12, 1.26), "sides that single images may take, in units of the common one"
    )
    stretch_gain: float = setting(0.02, "by how much the objective must fall before single images may differ in size")
    images_at_once: int = setting(32, "images that are resized at once")
    laid_out: int = setting(
        8, "images whose windows are laid out, or squared, at once: copies on the way are small beside what is kept"
    )

    @cached_property
    def ladder(self) -> tuple[float, ...]:
        """The sides that are tried, shares of the letterbox."""
        return tuple(self.least_side * self.side_step**i for i in range(self.sides))

    @cached_property
    def angles(self) -> tuple[float, ...]:
        """The angles that crops are tried at, radians."""
        return tuple(i * 2 * math.pi / self.turns for i in range(self.turns))

    @property
    def tighten(self) -> float:
        """What a crop is shrunk by: the size rule stops where the margin begins to break, one step inside it still holds."""
        return 1 / self.side_step


@dataclass(frozen=True)
class RotationSettings:
    """The alignment of turned crops, `rotation.py`."""

    starts: int = setting(
        16, "crops that are tried as the first prototype", measured="prototype started from single crops, all turns and shifts"
    )
    rounds: int = setting(12, "rounds of each start")
    random_patches: int = setting(8, "random patches of each image, whose mean is the ground")
    centrings: int = setting(3, "times that crops are centred on their evidence", measured="crops centred on the evidence")
    fine_turns: tuple[float, ...] = setting(
        tuple(math.radians(a) for a in (-12, -6, 0, 6, 12)),
        "radians",
        measured="centred again, half turns, fine turns, three times",
    )
    coarse_shifts: tuple[float, ...] = setting((-0.25, 0.0, 0.25), "half sides of the crop, along both of its axes")
    fine_shifts: tuple[float, ...] = setting((-0.12, 0.0, 0.12), "half sides of the crop, along both of its axes")
    upright_above: float = setting(0.3, "length of the mean direction below which objects point everywhere and none is upright")
    images_at_once: int = setting(16, "images whose turned crops are embedded at once")

    @cached_property
    def half_turns(self) -> tuple[float, ...]:
        """The fine turns, and the same upside down, radians."""
        return self.fine_turns + tuple(a + math.pi for a in self.fine_turns)


@dataclass(frozen=True)
class WindowSettings:
    """Windows on maps of cells, `windows.py`."""

    border: float = setting(0.08, "width of the border band whose cells count as background, share of the image's side")
    outside: float = setting(-5.0, "what a cell beside the image counts, standard deviations: no window gains by reaching out")
    least_side: float = setting(0.1, "smallest side of a window, share of the letterbox")
    side_step: float = setting(1.2, "each side is this many times the one before", measured="windows of the ladder")
    sides: int = setting(13, "how many sides are tried besides the whole letterbox")
    most_aspect: float = setting(4.1, "longer side over shorter side, at most")
    slack: float = setting(0.05, "how far a window may miss the sides that were asked for, share of them: cells are coarse")
    finer: int = setting(
        4, "steps to a cell at which the last windows are placed", tried="1", measured="moved by quarters of a cell"
    )
    sweeps: int = setting(4, "times that all four sides of a window are moved in turn; most stand still after two")
    otsu_values: int = setting(4096, "values that a threshold is found from, about; of more, every second or third is taken")

    @cached_property
    def ladder(self) -> tuple[float, ...]:
        """Sides of windows, shares of the letterbox."""
        return (*(self.least_side * self.side_step**i for i in range(self.sides)), 1.0)


@dataclass(frozen=True)
class WordsSettings:
    """The search by visual words, `visual_words.py`."""

    words: int = setting(200, "words", tried="40, 60, 100, 300", measured="40 / 60 / 200 / 300 words")
    kmeans_rounds: int = setting(15, "rounds of k-means")
    kmeans_cells: int = setting(20_000, "cells of the set that words are made of, at most")
    least_share: float = setting(0.05, "what is added to a word's share, in units of the mean share: none is never seen")
    border_weight: float = setting(3.0, "how often a cell in the border band counts as outside", tried="1")
    rounds: int = setting(10, "rounds of windows from margins and margins from windows")
    smoothing: float = setting(
        1.0,
        "sigma of the score map's blur, cells",
        tried=".5, 1.5, 2",
        measured="map smoothed by 0.5 / 1.5 / 2 cells instead of 1",
    )
    centre_prior: float = setting(
        0.3,
        "what the centre is favoured by at first, standard deviations of the map",
        tried="1.5",
        measured="prior .3 then .45",
    )
    faded_prior: float = setting(0.09, "what is left of it afterwards, without guidance")
    guided_prior: float = setting(0.45, "what it is afterwards, with guidance", measured="centre prior 1.5 fading to .45")
    first_rounds: int = setting(4, "rounds before it fades")
    own_rounds: int = setting(
        3,
        "last rounds of a guided search, in which half of the outside is the image's own",
        tried="all",
        measured="last three rounds",
    )
    guided_gain: float = setting(
        0.1,
        "by how much the criterion must rise before guidance is believed",
        measured="guided only where the criterion rises by .1",
    )
    start_gain: float = setting(0.5, "by how much it must rise before another start than the centre is believed")
    components: int = setting(
        2,
        "principal components that searches also start from, with either sign",
        tried="0",
        measured="components as further starts mend it",
    )
    cover_cost: float = setting(2.0, "what the criterion loses by covering all of the border, standard deviations")
    most_cover: float = setting(
        0.75, "share of the border above which nothing is left to compare with", measured="`MOST_BORDER`"
    )

    def prior(self, guided: bool) -> float:
        """What the centre is favoured by after the first rounds, standard deviations of the map."""
        return self.guided_prior if guided else self.faded_prior


@dataclass(frozen=True)
class Variant:
    """One way to make margins of dense features.

    Attributes:
        name: for people.
        whiten: how far the features' spreads are made equal, see `Projection`.
        shrinkage: of the discriminant; None is the mean difference.
        above: how far above Otsu's the threshold of the rounds lies, standard deviations of the score map.
        last_above: the same, of the last windows.
    """

    name: str
    whiten: float
    shrinkage: float | None
    above: float
    last_above: float


@dataclass(frozen=True)
class DenseSettings:
    """The search on a network's dense features, `dense.py` and `discriminant.py`."""

    scales: tuple[float, ...] = setting(
        (0.75, 1.125, 1.625),
        "sides at which images are looked at, in units of `imgsz`: what an object's parts look like, and what its whole does",
        tried="144, 208; 144, 208, 304 pixels",
        measured="F + 4 at 144, 208, 304 pixels",
    )
    pad: int = setting(16, "pixels that images are mirrored outwards by", tried="0", measured="Mirrored outwards by 16 pixels")
    cells: int = setting(24, "cells along a side of the search's maps", tried="32", measured="32 x 32 cells")
    images_at_once: int = setting(16, "images that are looked at, or projected, at once", tried="8, 12, 32")
    dimensions: int = setting(64, "principal components of the cells that are kept")
    rounds: int = setting(8, "rounds of windows from margins and margins from windows")
    first_rounds: int = setting(3, "rounds before the centre prior fades")
    centre_prior: float = setting(0.3, "what the centre is favoured by at first, standard deviations of the score map")
    faded_prior: float = setting(0.1, "what is left of it afterwards")
    smoothing: float = setting(0.7, "sigma of the score map's blur, cells")
    halo: float = setting(2.0, "cells around a taken object in which its own blurred margins would be found again")
    border_weight: float = setting(
        4.0,
        "how much more than others a border cell counts as background, inside a crop too",
        tried="2, 5",
        measured="5, everywhere",
    )
    least_outside: int = setting(4, "images with fewer cells outside of their crop say nothing of the background")
    unlike_shrinkage: float = setting(
        0.05, "of the borders' scatter, share of the mean variance that is added in all directions"
    )
    means: Variant = setting(
        Variant("means", whiten=0.5, shrinkage=None, above=0.0, last_above=0.0),
        "finds small things on plain ground",
        tried="whiten 1",
        measured="means, whitened",
    )
    discriminant: Variant = setting(
        Variant("discriminant", whiten=0.0, shrinkage=1.0, above=0.25, last_above=0.1),
        "finds things in scenes; there the threshold must rise, or the ground that a thing stands on passes for a part of it",
        tried="shrinkage .1; above 0 to .3, last 0 to .15",
        measured="Thresholds of the discriminant with this network",
    )
    means_gain: float = setting(
        1.3, "how many times the discriminant's worth the means must have to be believed", tried="1.15, 1.6",
        measured="with 1.15 aeroplane falls to 44, with 1.6 clamp to 24",
    )  # fmt: skip

    @property
    def variants(self) -> tuple[Variant, Variant]:
        """The two ways to make margins; a result names its own by the number here."""
        return self.means, self.discriminant


@dataclass(frozen=True)
class OutlineSettings:
    """Outlines in pixels, `outline.py`."""

    reach: float = setting(
        0.25,
        "how far beyond the window the object may reach, share of the window's side",
        tried=".5",
        measured="reach .5 instead of .25",
    )
    reduction: float = setting(
        2.0, "by how much images are smaller for GrabCut", tried="1, 3", measured="Outlines of images of half the size"
    )
    iterations: int = setting(1, "of GrabCut", tried="3", measured="One iteration of GrabCut instead of three")
    least_part: float = setting(0.15, "parts smaller than this share of the largest are specks")
    agrees: float = setting(
        0.4,
        "IoU with the window below which an outline has found something else",
        measured="where it agrees with the window (IoU .4)",
    )
    weight: float = setting(
        0.5, "of the outline's box against the window: colours overlook pale parts, features overlook none", tried=".4, .6, .65, .7, 1",
        measured="half of the outline's box instead of .6",
    )  # fmt: skip
    images_at_once: int = setting(16, "images that are labelled by windows and outlines at once: less than a second's work")


@dataclass(frozen=True)
class ChoiceSettings:
    """Which hypothesis is believed, `choose.py`."""

    contrast_weight: float = setting(
        0.1, "of the deformable contrast against the rigid objective", measured="Rigid or deformable"
    )
    rigid_below: float = setting(1.04, "the bar where the deformable contrast is of words", measured="Rigid or deformable")
    rigid_below_dense: float = setting(0.95, "the bar where it is of dense features, whose contrasts are lower")
    tried_images: int = setting(
        32,
        "images, about, whose best rigid crops must pass the bar before all are searched: fewer agree better by chance",
        tried="16, 48",
        measured="Rigid crops of a few images first",
    )
    images_at_once: int = setting(64, "images that are labelled, scored or compared with backgrounds at once")


RIGID = RigidSettings()
ROTATION = RotationSettings()
WINDOWS = WindowSettings()
WORDS = WordsSettings()
DENSE = DenseSettings()
OUTLINE = OutlineSettings()
CHOICE = ChoiceSettings()
