"""OpenCV's captures of video files and cameras, opened safely whatever the file's name.

A name of plain letters is handed over as it is. Any other goes through a link with a plain name in a private folder: one that is not
UTF-8 would end the process, and one such as `concat:a|b` would be taken for a protocol.
"""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # one clear line is ours to say

import cv2
from PIL import Image

from stn_cli.errors import InputError, ResourceError
from stn_cli.media.scan import VIDEO_EXTENSIONS, looks_like_image
from stn_cli.runtime.threads import default_workers

PLAIN = re.compile(r"([A-Za-z]:)?[A-Za-z0-9_./\\ -]+")
"""Absolute paths in which FFmpeg finds neither a protocol nor a pattern."""
ANIMATED = ("GIF", "PNG")
"""Pictures that FFmpeg plays; animated WebP and AVIF it does not."""
CONVERT = "Convert it, for example: ffmpeg -i IN -c:v libx264 OUT.mp4"


@contextmanager
def open_capture(source: str | int) -> Iterator[Any]:
    """An opened `cv2.VideoCapture` of a file, by its absolute path, or of a camera, by its number.

    Args:
        source: path of a file, or number of a camera.

    Yields:
        The capture; it is released at the end.

    Raises:
        InputError: no such camera, or not a video.
        ResourceError: the file's name needs a link, and none can be made.
    """
    if isinstance(source, int):
        capture = cv2.VideoCapture(source)
        try:
            if not capture.isOpened():
                raise InputError("no such camera", source)
            yield capture
        finally:
            capture.release()
        return
    _refuse_others(source)
    with _plainly_named(source) as path:
        # decoding runs beside whoever reads the frames, and more threads than are free cost more than they give
        threads = max(1, default_workers() // 2)
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        try:
            if not capture.isOpened():
                raise InputError("not a video", source, "or cut off before its index")
            yield capture
        finally:
            capture.release()


def codec_of(capture: Any) -> str:
    """The four letters that name a capture's codec.

    Args:
        capture: that is open.

    Returns:
        Four letters; fewer where the capture does not know.
    """
    return "".join(chr(b) for b in int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(8, "little", signed=True)[:4] if 32 < b < 127)


@contextmanager
def _plainly_named(path: str) -> Iterator[str]:
    """A name of the file that is safe to hand over."""
    if PLAIN.fullmatch(path):
        yield path
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="stn-video-")
    except OSError as error:
        raise ResourceError(
            "no temporary folder for a link to a video of this name", path, error.strerror, "Set TMPDIR, or rename the video"
        ) from error
    with folder:
        link = os.path.join(folder.name, "video" + _plain_extension(path))
        try:
            _link(path, link)
        except OSError as error:
            raise ResourceError("no link can be made to a video of this name", path, error.strerror, "Rename it") from error
        yield link


def _link(path: str, link: str) -> None:
    """A symbolic link, or where that is not allowed (Windows) a hard one."""
    with suppress(OSError, NotImplementedError):
        os.symlink(path, link)
        return
    os.link(path, link)


def _plain_extension(path: str) -> str:
    extension = os.path.splitext(path)[1].lower()
    return extension if extension in VIDEO_EXTENSIONS else ""


def _refuse_others(path: str) -> None:
    """Refuse what FFmpeg would make a film of or follow elsewhere: pictures, plain text, playlists."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError("cannot read video", path, error.strerror) from error
    if looks_like_image(head):
        reason, todo = _picture(path)
        if reason:
            raise InputError("not a video", path, reason, todo)
    if head.startswith(b"version https://git-lfs"):
        raise InputError("not a video", path, "a Git LFS pointer", "Fetch the file itself: git lfs pull")
    if not any(byte < 9 or 13 < byte < 32 or byte > 126 for byte in head):
        raise InputError("not a video", path, "plain text")


def _picture(path: str) -> tuple[str, str]:
    """Why a picture is no video and what to do; empty for one that is animated."""
    kind, count = "", 1
    with suppress(Exception), warnings.catch_warnings():  # whatever is damaged in it: it is a picture
        warnings.simplefilter("ignore")
        with open(path, "rb") as file, Image.open(file) as image:
            kind, count = str(image.format), int(getattr(image, "n_frames", 1))
    if count > 1:
        if kind in ANIMATED:
            return "", ""
        if kind == "MPO":
            return "not animated, a stereo photo", ""
        if kind == "TIFF":
            return f"a TIFF of {count} pages", "Save the pages as files of their own and name their folder"
        return f"an animated {kind}, which is not decoded here", CONVERT
    return "an image", "Name a folder of frames"
