"""A window that shows a video while it is followed."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2

from stn_cli.media.decode import Pixels

WINDOW = "stn-coloc"
PROBE = "import cv2; cv2.namedWindow('stn-coloc', cv2.WINDOW_NORMAL); cv2.waitKey(1); cv2.destroyAllWindows()"
LONGEST = 30
"""Seconds that the first window of a slow display may take."""


def has_screen() -> bool:
    """Whether a window can be opened; asked in another process, as the library behind it ends its own where there is no display.

    Returns:
        True where one can.
    """
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in displays):
        return False
    nobody = subprocess.DEVNULL
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], stdin=nobody, stdout=nobody, stderr=nobody, timeout=LONGEST)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def show(pixels: Pixels) -> None:
    """Show an RGB frame (H, W, 3).

    Args:
        pixels: (H, W, 3) uint8 RGB.
    """
    cv2.imshow(WINDOW, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    cv2.waitKey(1)
