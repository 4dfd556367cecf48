"""The numbers that steer a training, each with its unit, what was tried, and where in docs/experiments.md it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cli.provenance import setting


@dataclass(frozen=True)
class Augmentation:
    """By how much the images that are learnt from are changed at random, `augment.py`."""

    scale: float = setting(
        0.2, "largest change of size, log of the side", tried=".5", measured="pictures zoomed by up to e^.5 instead of e^.2"
    )
    shift: float = setting(0.5, "largest shift along an axis, half sides of the letterbox")
    inside: float = setting(0.6, "share of an object's half side that a shift keeps inside the letterbox")
    off_window: float = setting(
        0.35, "the same shift for a finer level, half sides of its window: how far off the middle it must find the object"
    )
    turn: float = setting(0.2, "largest turn of pictures of upright things, radians")
    steady: float = setting(
        0.7, "length of the mean direction of the set's crops below which things stand at all angles, and pictures are turned all around"
    )  # fmt: skip
    stretch: float = setting(
        0.3, "largest stretch of a deformable thing, log of each side: a set of fifty images holds few forms, new images others",
        tried="0", measured="half hidden, pictures stretched by up to e^.3",
    )  # fmt: skip
    colour: float = setting(0.15, "largest change of brightness; half as much of each channel's, and of what is added to all")
    hidden: float = setting(
        0.5, "share of the components of a cell that f_loc does not see, others for each image of a batch: it would know fifty images by heart",
        tried="0; all of them in .4 of the images", measured="half of the components hidden, others for each image",
    )  # fmt: skip


@dataclass(frozen=True)
class Regression:
    """Regression onto the search's crops, `regress.py`."""

    warm_up: int = setting(20, "steps in which the rate rises to its full height")
    weight_decay: float = setting(1e-4, "of AdamW; fine-tuning takes the same")
    longest_gradient: float = setting(5.0, "norm that gradients are clipped to; fine-tuning takes the same")
    smooth: float = setting(0.2, "error of a pose, half sides of the object, below which its loss is a square")
    full_jitter: float = setting(
        0.5, "share of the steps after which random changes begin to fall to nothing", tried="0, 1",
        measured="400 steps, jitter falls in the second half",
    )  # fmt: skip
    echoes: int = setting(
        4,
        "steps in a row on the same images, where a network is asked for their features",
        tried="1, 2",
        measured="The finder's steps",
    )
    check_every: int = setting(25, "steps between two looks at how well the network agrees with the search")
    probed: int = setting(128, "images at most whose boxes are compared with the search's")
    agreed: float = setting(0.95, "mean IoU with the search at which the regression ends")
    least_gain: float = setting(0.004, "mean IoU that counts as a gain")
    patience: int = setting(3, "looks without a gain after which the regression ends")
    late: float = setting(
        0.75, "share of the steps before which the rate is too high for a standstill to mean anything", tried="0",
        measured="early stop whenever agreement stands still",
    )  # fmt: skip
    first_look: int = setting(64, "images at least from which f_loc takes the mean and the spread of what it reads")


@dataclass(frozen=True)
class Finetuning:
    """Fine-tuning with the triplet loss through the sampler, `finetune.py`."""

    rate: float = setting(0.5, "share of the regression's learning rate", tried=".1", measured="With gradients that are right")
    anchor: float = setting(
        0.1, "weight of the regression loss: the triplet loss alone lets crops drift where it is flat", tried="0, .5",
        measured="With gradients that are right",
    )  # fmt: skip
    random_patches: int = setting(
        4, "random patches of each image that its crop is compared with, beside two that are half-way off it"
    )
    one_of: int = setting(5, "one of so many images is held out of the steps, to measure what they are worth")
    fewest: int = setting(8, "images held out below which they are not: so few say nothing")
    matched: int = setting(512, "images at most over which the crops' sizes are compared with the search's")


@dataclass(frozen=True)
class Corrections:
    """A training that goes on from a finished run with a person's annotations, `corrections.py`."""

    share_of_steps: int = setting(
        4, "regression and fine-tuning have this part of their steps: the finder knows the object already"
    )


AUGMENTATION = Augmentation()
REGRESSION = Regression()
FINETUNING = Finetuning()
CORRECTIONS = Corrections()
SAVE_EVERY = 50
"""Steps between two states on disk; a training that is stopped saves one at once."""
