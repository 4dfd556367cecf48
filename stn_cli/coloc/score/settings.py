"""The numbers that steer scorers and scores, each with its unit, what was tried, and where in docs/experiments.md it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stn_cli.provenance import setting


@dataclass(frozen=True)
class ScoreSettings:
    """Margins of crops, and what is believed to be there."""

    probes: int = setting(12, "points along a side at which a crop reads the score map")
    likeness_probes: int = setting(6, "points along a side at which a crop reads what it holds")
    ring: float = setting(1.6, "how many times as large the surroundings are", measured="mean inside - .5 x ring of 1.6")
    ring_weight: float = setting(0.5, "of the mean in the ring", tried="0, 1", measured="mean inside - .5 x ring of 1.6")
    read: int = setting(32, "components of a cell that f_loc reads", tried="8", measured="reads 8 components instead of 32")
    hopeless: float = setting(
        0.1, "an image whose best crop has less margin than this share of all random patches holds nothing to learn from", tried=".25",
        measured="Only hopeless ones left out (below a tenth of random patches)",
    )  # fmt: skip
    same_kind: float = setting(0.5, "share of the images in which a further object must score as a known kind to be one")
    boxes_at_once: int = setting(4096, "images whose turned crops are boxed at once")


@dataclass(frozen=True)
class CalibrationSettings:
    """From margins to scores, and a look at whether the boxes make sense, `calibration.py`."""

    random_patches: int = setting(8, "random patches of each image that crops are told from")
    images: int = setting(1024, "images at most whose margins scores are fitted on")
    clear: float = setting(0.2, "IoU with any crop below which a random patch holds no object")
    images_at_once: int = setting(64, "images whose margins are taken at once")
    observed: int = setting(8, "parts of `images_at_once` images whose embeddings a rigid scorer learns from")
    newton_rounds: int = setting(60, "rounds of Newton's method, at most")
    ridge: float = setting(1e-3, "cost of a steep curve, for margins that are told apart without error")
    longest_step: float = setting(2.0, "longest step of Newton's method, in spreads of the margins")
    least_common: float = setting(
        0.37, "crops that have less in common are of no common object, see `DenseSearch.common`", tried=".25 to .41",
        measured=".37 divides them",
    )  # fmt: skip
    further_common: float = setting(
        0.7, "the same of further kinds, share of what the first one's have: what lies around an object has something in common too",
        tried="none", measured="A further kind must have .7 of what the first has in common",
    )  # fmt: skip
    doubtful: float = setting(0.5, "the highest score where the object itself is in doubt")
    least_boxes: int = setting(8, "boxes below which nothing can be said of them together")
    same_place: float = setting(0.02, "spread of the boxes' centres below which they are all at one place, normalised")
    same_size: float = setting(0.05, "spread of their sides below which they are all of one size, share of the mean side")
    half_off: float = setting(0.5, "share of its area that a box must have on the image not to lie half off it")
    many_off: float = setting(0.2, "share of boxes half off their image that is suspicious")
    touches: float = setting(0.01, "gap to the border below which a box touches it, share of the image's side")
    small: float = setting(0.5, "share of the image's area below which a box that touches the border counts")
    nearly_all: float = setting(0.8, "share of boxes at the border that is suspicious")


@dataclass(frozen=True)
class Evidence:
    """What speaks for a proposed box beside the proposer's own odds, `objects.py`.

    A proposer that does not know the set has to be told what is common. What it learnt then stands in its own odds; to count the same map and
    the same windows once more only repeats their mistakes.
    """

    contrast: float = setting(
        2.0, "log odds for each standard deviation by which the map is higher inside than around", tried="1 to 4",
        measured="Evidence for objects",
    )  # fmt: skip
    likeness: float = setting(
        1.0, "log odds for each e-fold of the likeness to the set's crops", tried="0 to 3", measured="Evidence for objects"
    )
    agreement: float = setting(
        0.5, "log odds for a box that is the window itself", tried="0 to 3", measured="Evidence for objects"
    )
    offset: float = setting(-2.5, "log odds of a box before it is asked", measured="Evidence for objects")

    def sum(self, contrast: Tensor, log_likeness: Tensor, agreement: Tensor) -> Tensor:
        """Log odds (B, M) of boxes by how they contrast, how alike they are, and their IoU with the window, (B, M) each."""
        return self.contrast * contrast + self.likeness * log_likeness + self.agreement * agreement + self.offset


UNTAUGHT = Evidence()
"""For a proposer of whole objects of any kind."""
TAUGHT = Evidence(contrast=0.5, likeness=1.5, agreement=0.0, offset=0.5)
"""For one that has learnt the set's objects; "After the proposer has learnt" in docs/experiments.md."""


@dataclass(frozen=True)
class ObjectSettings:
    """Which proposed boxes are objects of the common kind, `objects.py`."""

    proposals: int = setting(100, "boxes of an image that are looked at")
    probes: int = setting(16, "points along a side at which a box reads the score map")
    ring: float = setting(1.5, "how many times as large the surroundings are")
    least_alike: float = setting(0.05, "likeness that is believed at least")
    usual_alike: float = setting(-1.0, "logarithm of the likeness of a usual object, where it is not asked")
    least_fit: float = setting(1e-4, "least probability that is believed of the instance network")
    apart: float = setting(
        0.4, "IoU with a better box above which a box is the same object", tried=".3 to .55", measured="Evidence for objects"
    )
    least: float = setting(0.05, "score below which a box beside the best one is taken for no object")
    absent: float = setting(0.01, "the same of the best box of an image")
    share_of_steps: int = setting(
        4,
        "--steps and --finetune are divided by this where objects are proposed: so long the proposer learns the set's objects, and so long "
        "the finder, whose crop is one candidate among theirs",
        tried="150 to 450 steps of the proposer; 50, 400 of the finder", measured="The finder's steps",
    )  # fmt: skip
    taught_most: int = setting(12, "objects of an image that are learnt from, at most")
    taught: float = setting(
        0.5,
        "share of an image's best score from which a further object is learnt from",
        tried=".75, .85",
        measured="Learning the folder's objects",
    )
    unsure: float = setting(0.25, "the same from which a box is neither learnt as an object nor as none")
    held: float = setting(0.6, "share of the smaller of two boxes from which one holds the other")


@dataclass(frozen=True)
class AnnotationSettings:
    """A person's annotations of some images, `annotated_search.py`."""

    share: float = setting(
        0.5,
        "of the scorer's cells that are those images' together, whatever their number",
        measured="Learning from annotations",
    )
    rejected: float = setting(3.0, "how much more a cell counts where a rejected box is")
    steps: float = setting(
        0.6, "share of the steps in which the proposer learns a folder: so long it learns the annotations",
        measured="Learning from annotations",
    )  # fmt: skip
    steps_each: int = setting(
        6, "of these steps at most for each image, where a finished run is gone on from", tried="all of them",
        measured="Learning from annotations",
    )  # fmt: skip
    calibrated: int = setting(64, "of those images at most, in which it is seen how often scores are right")
    right: float = setting(0.5, "IoU above which a box is an annotated one")
    spread: float = setting(
        1.0, "of what may have to be added to log odds, before anything is known", measured="Learning from annotations"
    )
    rounds: int = setting(30, "of Newton's method")


@dataclass(frozen=True)
class LayoutSettings:
    """Crops as they are embedded with their layout, `laid_out.py`."""

    cells: int = setting(
        8, "along a side of the embedding", tried="1, 2, 4", measured="The triplet objective of laid-out crops"
    )


@dataclass(frozen=True)
class GroupSettings:
    """Which boxes hold several objects side by side, `groups.py`; "Groups" in docs/experiments.md."""

    within: float = setting(0.8, "share of a box that lies in a larger one from which it is a part of it")
    smaller: float = setting(0.75, "area in units of the larger box's below which it is one")
    tried: int = setting(30, "of a box's parts at most, the likeliest first")
    apart: float = setting(0.25, "share of the smaller of two parts that both hold, above which they are not side by side")
    covered: float = setting(0.5, "share of the box that two of them cover at least")
    neighbours: int = setting(8, "the set's images in units of those in which the nearest likeness counts")
    least_neighbours: int = setting(3, "of such images at least")
    odds: float = setting(0.05, "likeness that one unit of log odds is worth", tried="0, .03", measured="Groups")
    worth: float = setting(
        -0.1, "by how much two parts together must be more alike to the set's objects than the box is", tried="-.25 to -.05",
        measured="Groups",
    )  # fmt: skip
    rounds: int = setting(2, "in which the set's objects are those of the round before")
    alike: float = setting(
        0.65,
        "likeness of the set's objects to those that are most alike, below which nothing is a group",
        tried="none",
        measured="Groups",
    )


@dataclass(frozen=True)
class CutoutSettings:
    """Which objects are cut out to be pasted beside others, `cutouts.py`."""

    share: float = setting(0.5, "of the images whose best object is cut out, the surest first")
    least_images: int = setting(20, "and of this many at least")
    edge: float = setting(0.01, "share of the image's side within which an object is taken to be cut by its edge")
    least_pixels: int = setting(6, "along a side of an outline")
    least_extent: float = setting(0.6, "share of its box that the outline's own box covers; less is a part of the object")
    least_area: float = setting(0.25, "share of the box that is the object's; less is a speck")


@dataclass(frozen=True)
class TighteningSettings:
    """How boxes are drawn to the outlines of what is in them, `tightening.py`."""

    beyond: float = setting(
        0.1,
        "how far an outline may reach beyond its box on each side, share of the side",
        tried="0, .2",
        measured="Tighter boxes",
    )
    side: int = setting(
        96, "longer side at which a box and what is beside it are looked at, pixels", tried="128", measured="Tighter boxes"
    )
    least_pixels: float = setting(6.0, "along a side of a box that has an outline")


SCORE = ScoreSettings()
LAYOUT = LayoutSettings()
ANNOTATIONS = AnnotationSettings()
OBJECTS = ObjectSettings()
GROUPS = GroupSettings()
CUTOUTS = CutoutSettings()
CALIBRATION = CalibrationSettings()
TIGHTENING = TighteningSettings()
