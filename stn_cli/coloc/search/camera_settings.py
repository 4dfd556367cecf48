"""The numbers that steer the search before fixed cameras, with units, what was tried, and where in docs/experiments.md it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cli.provenance import setting


@dataclass(frozen=True)
class CameraSettings:
    """Folders that are frames of fixed cameras, `cameras.py` and `background.py`."""

    images: int = setting(200, "images of a set that are looked at, drawn at random from more")
    side: int = setting(104, "side of letterboxes, pixels", tried="52, 208", measured="frames compared at side 52")
    blocks: int = setting(8, "blocks along a side of an image")
    pixels: int = setting(12, "pixels along a side of a block, in which its gradients are compared")
    faint: float = setting(0.008, "gradient below which all pixels are faint")
    alike: float = setting(0.5, "correlation of two blocks of one place", tried=".3, .7", measured="blocks alike by .3")
    joined: float = setting(0.75, "share of alike blocks in a group", tried=".5 to .8", measured="joined at .65")
    least: int = setting(8, "images of a group that give a background")
    most: int = setting(12, "backgrounds of a set")
    known: float = setting(0.3, "share of blocks like the background's from which an image is a frame of its camera")
    share: float = setting(0.6, "share of the images that must be such", measured="The largest share without a fixed camera")
    moving: float = setting(0.5, "share of such frames in which something must differ")
    noise: float = setting(0.01, "spread of a pixel, at least", tried=".005, .02", measured="believed noise of a pixel")
    light_rounds: int = setting(4, "rounds in which light is fitted", tried="1, 2, 3, 6", measured="light fitted in 1 round")
    light_ridge: float = setting(1e-3, "variance of brightness by which the gain is held at 1")
    light_agrees: float = setting(1.5, "errors of the light's fit, in medians, from which a pixel counts less")
    clear: float = setting(2.0, "spreads of a change that is half believed", tried="1.5 to 6", measured="clear at 4 spreads")
    cells: int = setting(52, "cells along a side of the map", tried="26, 104", measured="26 cells instead of 52")
    least_spread: float = setting(0.1, "spread of the map, at least: where hardly anything moves, noise is no evidence")
    levels: tuple[float, ...] = setting((0.0, 0.5, 1.0), "standard deviations above the threshold at which regions are cut out")
    least_region: int = setting(4, "cells of a region")
    most_regions: int = setting(20, "regions of an image")


CAMERAS = CameraSettings()
