"""Files that a pattern matches, as a shell's `*`, `?`, `[...]` and `**` do; what `listing` leaves out is left out here, too."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator

from stn_cli.media.listing import Folder, PassedOver, entries
from stn_cli.outputs.manifest import MANIFEST
from stn_cli.records import Skipped


def matching(pattern: str, found: PassedOver) -> Iterator[str]:
    """Paths of the files that a pattern matches, as `glob.glob(pattern, recursive=True)` does but for loops of links, results and leftovers.

    `**` follows no links to folders; `*` follows those that do not lead back.

    Args:
        pattern: as a shell writes it, with `**` for any folders.
        found: what is passed over is noted there.

    Yields:
        Paths.
    """
    parts = os.path.normpath(pattern).split(os.sep)
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    base = os.sep.join(parts[:fixed])
    if fixed == 1 and (parts[0] == "" or parts[0].endswith(":")):
        base += os.sep  # the root, of a drive on Windows
    if os.path.isdir(base or "."):
        yield from _match(Folder(base or "."), parts[fixed:], found)


def _match(folder: Folder, parts: list[str], found: PassedOver) -> Iterator[str]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _match(folder, rest or ["*"], found)
        inside = entries(folder, found, lambda name: not name.startswith("."), files=False)
        found.skipped += [Skipped(link.prefix.rstrip("/"), "symlinked folder") for link in inside.links]
        for below in inside.folders:
            yield from _match(below, parts, found)
    elif glob.has_magic(part):
        yield from _match_names(folder, part, rest, found)
    else:
        folder = folder.marked() if os.path.isfile(os.path.join(folder.path, MANIFEST)) else folder
        path, name = os.path.join(folder.path, part), folder.prefix + part
        if rest and os.path.isdir(path):
            yield from _match(Folder(path, name + "/", folder.own), rest, found)
        elif not rest and os.path.lexists(path) and not os.path.isdir(path):
            if folder.is_own(name, path):
                found.own += 1
            else:
                yield path


def _match_names(folder: Folder, part: str, rest: list[str], found: PassedOver) -> Iterator[str]:
    def accept(name: str) -> bool:
        return fnmatch.fnmatch(name, part) and (part.startswith(".") or not name.startswith("."))

    if not rest:
        yield from (path for path, _, _ in entries(folder, found, accept, folders=False).files)
        return
    inside = entries(folder, found, accept, files=False)
    for below in inside.folders + [link for link in inside.links if not _leads_back(link.path)]:
        yield from _match(below, rest, found)


def _leads_back(link: str) -> bool:
    """Whether a link to a folder leads to one that it lies in."""
    target, here = os.path.realpath(link), os.path.realpath(os.path.dirname(link))
    return os.path.join(here, "").startswith(os.path.join(target, ""))
