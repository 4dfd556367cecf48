"""The numbers that steer following one object, each with its unit, what was tried, and where in docs/experiments.md it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cli.provenance import setting


@dataclass(frozen=True)
class ViewSettings:
    """Windows as they are looked at, `view.py`."""

    side: int = setting(128, "pixels along a window's side", tried="96, 112, 160", measured="window 128 pixels for 160")
    cell: int = setting(4, "pixels between neighbouring cells")
    reach: float = setting(
        4.0, "side of a window, in units of the object's (the root of its area)", tried="3.6", measured="window 128, reach 3.6 for 4"
    )  # fmt: skip
    least_reach: float = setting(1.6, "the same at least, in units of the object's longer side")
    least_side: int = setting(8, "smallest side of a window, pixels of the frame")
    components: int = setting(
        24, "principal components of the encoder's features", tried="16", measured="window, components, features"
    )
    edges: float = setting(
        0.5, "weight of edges and colours beside them", tried="the network's third stage alone", measured="third stage alone"
    )
    stretch: float = setting(0.6, "spread of the log sides of varied boxes, in units of the spread of their places")
    colours: int = setting(16, "bins of each of the three colour channels")
    step: float = setting(0.6, "between windows that cover a frame, share of their side")
    growth: float = setting(1.1, "how much larger these are made at a time, until there are few enough")


@dataclass(frozen=True)
class LearningSettings:
    """How fast what is known of the object changes, `template.py` and `foreground.py`."""

    first_frame: float = setting(0.3, "what the first frame always counts: what was learnt wrong later can be unlearnt")
    template_rate: float = setting(0.1, "what a lesson counts for the template")
    cells_rate: float = setting(0.15, "what a lesson counts for the discriminant of cells")
    colours_rate: float = setting(0.1, "what a lesson counts for the colour histograms")
    profile_rate: float = setting(0.1, "what a lesson counts for the spread over the box")
    lesson_every: int = setting(
        2, "looks between lessons", tried="1, 4", measured="lessons every fourth frame for every second"
    )
    solve_every: int = setting(
        4, "looks between solutions of the template", tried="8", measured="solved every eighth look after 16"
    )


@dataclass(frozen=True)
class TemplateSettings:
    """The layout of the object, `template.py`."""

    points: int = setting(5, "places along a side that are read", tried="4", measured="4 x 4 points for 5 x 5")
    zoom: float = setting(1.4, "how much beyond the box they reach: what is beside the object shows where it ends")
    shrinkage: float = setting(1e-2, "ridge of the regression, in units of the mean of its matrix's diagonal")
    first_boxes: int = setting(400, "boxes of the first frame that are learnt from")
    boxes: int = setting(120, "boxes of a later frame", tried="80", measured="80 boxes a lesson")
    true_boxes: int = setting(8, "times that the object's own box is added to them")
    near: float = setting(0.18, "spread of the places and of the log sides of boxes near the object, in units of its sides")
    far_stretch: float = setting(0.15, "spread of the log sides of boxes anywhere in the window")
    steps: int = setting(10, "steps of conjugate gradients", tried="6", measured="conjugate gradients, 10 steps")
    factored_every: int = setting(8, "solutions that one factorisation serves")
    on_other: float = setting(0.3, "overlap with another object of the kind from which a box says nothing")


@dataclass(frozen=True)
class ForegroundSettings:
    """The object's pixels, `foreground.py`."""

    shrinkage: float = setting(0.02, "ridge of the discriminant, in units of the mean of its matrix's diagonal")
    rounds: int = setting(3, "rounds in which the first box is split into object and background")
    softness: float = setting(0.25, "margin of a cell that changes its log odds by 1")
    near: float = setting(1.2, "cells between the box and one this much larger are neither object nor background")
    middle: float = setting(0.7, "how fast cells count less towards the box's sides: corners seldom hold the object")
    doubt: float = setting(
        0.3, "how much cells in the first box that look like background count as background",
        measured="+ its threshold calibrated on the first box, cells split inside the box",
    )  # fmt: skip
    later_doubt: float = setting(
        0.05, "the same in later boxes",
        measured="+ aspect ratio held to the first, weak cells inside the box count little as background",
    )  # fmt: skip
    cells_weight: float = setting(0.7, "of the log odds of cells: they and the colours are not independent")
    colours_weight: float = setting(0.7, "of the log odds of colours", measured="+ colour histograms")
    rare: float = setting(2e-4, "what is added to a colour's share: no colour is impossible")
    profile: int = setting(
        8, "places along a side at which the spread is read", measured="profile of the map over the box in place of the threshold"
    )  # fmt: skip
    profile_zoom: float = setting(1.5, "how much beyond the box they reach")


@dataclass(frozen=True)
class BoxSettings:
    """The box of the object in a window, `follower.py`."""

    likeness: float = setting(
        0.5, "what the spread of the object's pixels counts beside the fit",
        measured="+ soft overlap with the map of cells, weight 0.5",
    )  # fmt: skip
    far: float = setting(0.15, "what a place at the side of the window costs")
    resized: float = setting(1.0, "what a change of the log sides since the last frame costs, squared")
    reshaped: float = setting(
        0.3, "what a change of the log aspect ratio since the first frame costs, squared",
        measured="+ aspect ratio held to the first, weak cells inside the box count little as background",
    )  # fmt: skip
    places: int = setting(15, "places along a side of the window that are tried first", tried="11", measured="11 x 11 places")
    peaks: int = setting(3, "the best of them, which are refined")
    kept: int = setting(5, "boxes that each round of refinement leaves")
    spreads: tuple[float, ...] = setting((0.12, 0.06, 0.03), "of the boxes around them in each round, in units of the sides")
    counts: tuple[int, ...] = setting(
        (120, 80, 60), "boxes in each round", tried="80, 60, 40", measured="80, 60, 40 boxes a round"
    )
    first_views: int = setting(
        5, "windows in which the first frame is learnt from", tried="1, 9", measured="the first frame in five windows"
    )
    view_shift: float = setting(0.2, "how far these are moved at most, share of their side")
    view_zoom: float = setting(0.15, "the largest change of their log side")
    momentum: float = setting(0.5, "what the speed of before counts for the next expectation")
    least_side: float = setting(4.0, "smallest side of a box, pixels")
    most_side: float = setting(1.2, "largest sides of a box, in units of the frame's")
    better: float = setting(0.1, "by how much a detector's proposal must fit better than what was found, to be taken")
    agrees: float = setting(0.3, "overlap from which a proposal is what was found")


@dataclass(frozen=True)
class PresenceSettings:
    """Whether the object is there, `follower.py`."""

    there: float = setting(
        0.25, "fit from which it is there", tried=".35", measured="no such haste, absent below 0.25 for 0.35"
    )
    back: float = setting(
        0.45, "fit from which it is believed to be back", tried=".4, .5", measured="Absence at fit 0.25, return at 0.45"
    )
    untaught: float = setting(
        0.2, "fit from which it is there until a lesson counts: what is lost so early stays lost", tried=".25",
        measured="before the first lesson counts, .2 in place of .25",
    )  # fmt: skip
    there_share: float = setting(
        0.5, "the first, as a share of the usual fit: the higher one counts", tried=".35, .45, .48, .55, .6",
        measured="there from half of the usual fit",
    )  # fmt: skip
    back_share: float = setting(
        0.65, "the second, as a share of the usual fit", tried=".6, .75", measured="... .48, back from .6"
    )
    usual_rate: float = setting(
        0.15, "how fast the usual fit follows the fits; it begins at 0, as looks change most at first", tried=".1",
        measured="... rate .15",
    )  # fmt: skip
    on_frame: float = setting(
        0.3, "share of the box that must lie on the frame to be there",
        measured=".3 of the box on the frame to be there, .6 to be back",
    )  # fmt: skip
    back_on_frame: float = setting(0.6, "the same to be back", measured=".3 of the box on the frame to be there, .6 to be back")
    frames_of_a_pass: int = setting(8, "frames in which the whole frame is looked through for a lost object")
    most_windows: int = setting(6, "windows of each of them at most: where there would be more, they are larger")


@dataclass(frozen=True)
class GlimpseSettings:
    """Frames that are not looked at, `glimpse.py`."""

    after: int = setting(8, "looks before the first glimpse")
    in_a_row: int = setting(2, "glimpses between two looks", tried="1, 3", measured="two glimpses in a row")
    clear: float = setting(
        0.93, "correlation from which there is no doubt", tried=".8, .9, .91, .95, .97",
        measured=".93 of the middle .8 of the box",
    )  # fmt: skip
    inner: float = setting(
        0.8, "share of the box's sides that is correlated: near them is more of what lies behind", tried=".65, 1",
        measured="the middle .65 / all of it",
    )  # fmt: skip
    reach: int = setting(12, "how far from the expected place it is looked for, pixels of the window")
    least: int = setting(6, "pixels of the window along a side below which an object has too few of them to tell")


@dataclass(frozen=True)
class FinishSettings:
    """What is done once the whole video was seen, `smooth.py`."""

    gap: float = setting(0.5, "seconds up to which a gap is filled: a thing that was away longer was away")
    sigmas: tuple[float, float] = setting(
        (0.5, 2.0), "of places and of sizes, frames: a hand that holds a camera moves all from frame to frame",
        tried="(0, 0), (0, 1), (0, 2), (0, 4), (1, 1), (1, 2)", measured="Smoothing at the end",
    )  # fmt: skip
    several_sigmas: tuple[float, float] = setting(
        (2.0, 4.0), "the same of several objects", tried="(0, 0), (2, 2), (3, 3)", measured="Swans, HOTA by box"
    )
    several_shortest: int = setting(3, "frames in which one of several objects must have been seen")


VIEW = ViewSettings()
LEARNING = LearningSettings()
TEMPLATE = TemplateSettings()
FOREGROUND = ForegroundSettings()
BOX = BoxSettings()
PRESENCE = PresenceSettings()
GLIMPSE = GlimpseSettings()
FINISH = FinishSettings()
