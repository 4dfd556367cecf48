"""Which file a folder of results means where a file of boxes or tracks is asked for."""

from __future__ import annotations

from pathlib import Path

BOXES_NAME, REVIEWED_NAME, TRACKS_NAME = "boxes.json", "reviewed.json", "tracks.json"


def boxes_in(path: Path) -> Path:
    """The file of boxes that a path means.

    Args:
        path: a file, or a folder.

    Returns:
        `boxes.json` of a folder that `localise` wrote; any other path as it is.
    """
    return _first(path, BOXES_NAME)


def predictions_in(path: Path) -> Path:
    """The file of boxes or tracks that a path means.

    Args:
        path: a file, or a folder.

    Returns:
        `boxes.json` or `tracks.json` of a folder that `localise` or `track` wrote; any other path as it is.
    """
    return _first(path, BOXES_NAME, TRACKS_NAME)


def corrections_in(path: Path) -> Path:
    """The file of a person's annotations that a path means.

    Args:
        path: a file, or a folder.

    Returns:
        `reviewed.json` of a folder that `review` wrote into, else its `boxes.json`; any other path as it is.
    """
    return _first(path, REVIEWED_NAME, BOXES_NAME)


def _first(path: Path, *names: str) -> Path:
    return next((path / name for name in names if path.is_dir() and (path / name).is_file()), path)
