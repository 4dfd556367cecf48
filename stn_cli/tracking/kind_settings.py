"""The numbers that steer finding out what to follow, and following several, with unit, what was tried, and where it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cli.provenance import setting


@dataclass(frozen=True)
class SaliencySettings:
    """What stands out in a frame, `saliency.py`."""

    side: int = setting(320, "longer side at which motion and colours are compared, pixels")
    steps: tuple[int, ...] = setting((1, 3), "frames between those that are compared: for fast things, and for slow ones")
    ground_error: float = setting(1.0, "pixels by which the ground's motion may differ from the camera's model")
    model_every: int = setting(8, "pixels between the places that the camera's model is fitted to")
    noise: float = setting(0.3, "motion that is none, pixels")
    colour_blur: float = setting(1.5, "sigma of the blur before colours are compared, pixels")
    colour_noise: float = setting(4.0, "added to the variance of each colour channel: without it one-coloured frames have none")
    around: float = setting(12.0, "the longer side in units of the sigma of the blur that gives the colours around a pixel")
    local_blur: float = setting(2.0, "sigma of the blur of what a pixel differs from these by, pixels")
    extremes: tuple[float, float] = setting((-1.0, 4.0), "where maps are cut off before they are added, standard deviations")
    levels: tuple[float, ...] = setting((1.0, 1.5, 2.0, 3.0), "thresholds of a map, standard deviations above its mean")
    least_area: int = setting(25, "smallest part, pixels of the map")
    most_area: float = setting(0.5, "largest part, share of the frame")
    part_ring: float = setting(0.3, "width of the ring that a part is compared with, share of its sides")
    box_ring: float = setting(0.4, "width of the ring that a box is compared with, share of its sides")
    same: float = setting(0.6, "overlap from which two parts are one")
    at_border: float = setting(0.5, "what a part that touches the frame's border counts: it is cut off, or the frame's own")
    most_parts: int = setting(4, "parts of each map")
    cut_side: int = setting(200, "longer side at which parts are outlined, pixels")
    cut_reach: float = setting(0.35, "how far beside a part its outline may reach, share of its sides")
    cut_rounds: int = setting(2, "iterations of GrabCut")


@dataclass(frozen=True)
class DiscoverySettings:
    """The object of a video that nobody pointed at, `discover.py`."""

    side: int = setting(640, "longer side of the frames that are kept, pixels")
    clips: int = setting(4, "pieces of a long video that are kept")
    clip: int = setting(48, "frames of each")
    looks: int = setting(24, "frames in which candidates are looked for")
    agrees: float = setting(0.3, "overlap with a part from which its outline is believed")
    without_outline: float = setting(0.3, "what a candidate counts whose outline has nothing in common with it")
    with_outline: float = setting(0.7, "what their overlap adds to that, times itself")
    most_motion: float = setting(3.0, "contrast of motion above which more says nothing", measured="by motion alone")
    most_colour: float = setting(
        2.0, "the same of colours", measured="colours alone rank what stands still in every frame first"
    )
    least_colour: float = setting(0.1, "contrast of colours below which less says nothing")
    colour_power: float = setting(0.5, "of this contrast: it counts less than motion")
    area_power: float = setting(0.25, "of the area: of two that explain as much the larger one is the whole")
    hidden: int = setting(4, "one in so many frames, the least alike, says nothing: the object may be hidden there")
    followed: int = setting(6, "candidates that are followed", measured="Following the best ones")
    tried: int = setting(60, "candidates that these are taken from")
    met: float = setting(0.4, "overlap with a track from which a candidate is the object of that track")
    least_worth: float = setting(0.1, "worth of a track below which there is nothing to follow")
    crop: int = setting(64, "side of the crops that candidates are compared by, pixels")
    batch: int = setting(64, "crops that the encoder looks at together")
    border: float = setting(0.01, "how near to the frame's border touches it, share of its sides")
    at_border: float = setting(0.6, "what a candidate that touches the frame's border counts")


@dataclass(frozen=True)
class DetectorSettings:
    """Every object of a kind in a frame, `detector.py`."""

    learn_from: int = setting(24, "frames that are learnt from")
    believed_likeness: float = setting(0.25, "what the spread of the object's pixels counts in a score")
    reshaped: float = setting(0.5, "what another log aspect ratio than the first object's costs, squared")
    resized: float = setting(
        1.0, "what another log size than the first object's costs, squared: sizes that followed what is found would shrink",
        measured="another size costing more",
    )  # fmt: skip
    places: int = setting(25, "places along a side of a window that are tried first")
    zooms: tuple[float, ...] = setting((0.85, 1.0, 1.18), "sizes that are tried there, in units of the usual one")
    counts: tuple[int, ...] = setting((60, 50, 40), "boxes in each round of refinement")
    peaks: int = setting(6, "places in a window that are refined")
    kept: int = setting(4, "boxes that each round of refinement leaves")
    apart: float = setting(
        0.4, "overlap from which two peaks of a window are one object", tried=".3", measured="0.4 of a window, 0.5 of the frame now"
    )  # fmt: skip
    same: float = setting(
        0.5, "overlap from which two detections are one object", tried=".3", measured="0.4 of a window, 0.5 of the frame now"
    )
    promising: float = setting(-0.2, "what a place must be worth to be refined")
    least: float = setting(0.1, "score of a detection")
    least_taught: float = setting(0.25, "score from which a detection teaches the next round")
    rounds: int = setting(4, "rounds of learning")
    look: int = setting(48, "numbers that say what an object looks like: random projections of its features")
    look_parts: int = setting(3, "places along a side of the box at which these features are read")
    look_zoom: float = setting(0.8, "share of the box that they reach over: near its sides is more of what lies behind")


@dataclass(frozen=True)
class JoiningSettings:
    """Detections joined frame by frame, `several.py`."""

    begins: float = setting(0.35, "score from which a detection begins a track")
    first: float = setting(0.3, "score from which a detection is joined before others")


@dataclass(frozen=True)
class IdentitySettings:
    """Which track is whose, `identity.py`."""

    meeting: float = setting(0.1, "overlap from which two objects meet")
    pause: int = setting(8, "frames without a meeting that end one", measured="The meeting goes on until all are seen again")
    around: int = setting(12, "frames before and after a meeting that are compared")
    far: float = setting(0.5, "what a distance of the object's own size from the expected place counts against a likeness")
    farthest: float = setting(3.0, "the largest such distance that is told apart")
    same_track: float = setting(0.1, "what it counts that the association had both as one track")
    wait: float = setting(2.0, "seconds after which an end is not joined to a beginning")
    margin: float = setting(1.01, "by how much more beginnings are first looked at: a sum of times is rounded")
    least: float = setting(
        -0.25, "likeness less distance from which two pieces are one object's",
        measured="matching all tracks before and after a meeting at once made it better",
    )  # fmt: skip


@dataclass(frozen=True)
class StartSettings:
    """Where a follower begins, `starts.py`."""

    likely: float = setting(0.5, "score of a run's localisation from which it is the object")
    batch: int = setting(32, "frames that a run looks at together")


SALIENCY = SaliencySettings()
DISCOVERY = DiscoverySettings()
DETECTOR = DetectorSettings()
JOINING = JoiningSettings()
IDENTITY = IdentitySettings()
START = StartSettings()
