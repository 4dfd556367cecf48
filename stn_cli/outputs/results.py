"""Results folders: new results take their place only when they are whole.

While a call works everything it writes lies in `OUT/unfinished`. When it is whole, exactly those earlier files go that the manifest
`OUT/.stn-coloc` lists, the new ones are moved in, and the manifest lists them. A call that fails or is killed leaves the earlier results as
they were; if it is killed between the two last steps the next call finishes them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from stn_cli.errors import OutputError, printable
from stn_cli.files import TEMPORARY
from stn_cli.outputs.manifest import (
    MANIFEST,
    STAGING,
    STAGING_MARKER,
    Facts,
    is_staging,
    read_manifest,
    remove_written,
    renew_manifest,
    write_manifest,
)
from stn_cli.outputs.places import Place
from stn_cli.runtime.stopping import finishing

JOURNAL = "records.jsonl"
"""What a call goes on from; it serves no purpose when the results are whole."""
RESUMABLE = frozenset(["train", "localise", "pretrain"])
_WHOLE, _CLEARED = ".whole", ".cleared"


@dataclass(slots=True)
class Results:
    """A results folder that a call is going to write; making one checks everything and writes nothing.

    Attributes:
        folder: the results' folder.
        command: that writes.
        names: of the files and folders that the call may write, below `folder`.
        sources: files and folders that are read: none may lie in the results, nor the results in one of them.
        uses: a run, an encoder: none may lie in the results.
        overwrite: earlier results of the same command may be replaced.
        resume: the call goes on with what lies in `staging`.
        keep: what was written so far is worth keeping if the call fails; set by whoever writes.
        beginnings: names that are worth nothing by themselves: a stopped call that left no others is as good as none.
        repairs: what this tool wrote may be replaced though it is not any more what it was: a damaged model is built again.
        finished: an earlier call was stopped while it put whole results in their place, which was finished now.
        replaces: there are earlier results.

    Raises:
        OutputError: a file is in the way, the folder is not empty, a source lies in it or it in a source, another command's results are there,
            or a file of somebody else has a name that is wanted.
    """

    folder: Path
    command: str
    names: Sequence[str]
    sources: Sequence[str | os.PathLike[str]] = ()
    uses: Sequence[str | os.PathLike[str]] = ()
    overwrite: bool = False
    resume: bool = False
    keep: bool = False
    beginnings: frozenset[str] = frozenset()
    repairs: bool = False
    finished: bool = field(default=False, init=False)
    replaces: bool = field(default=False, init=False)
    _lock: IO[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if ".." in self.folder.parts and not os.path.lexists(self.folder):
            self.folder = Path(os.path.realpath(self.folder))  # `new/..` is a folder that is there
        self._check_apart()
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise OutputError("cannot write into", self.folder, "a file is in the way", "Choose another --out")
        try:
            if self._is_moving():
                self._finish_moving()
            self._check_content()
        except OSError as error:
            raise OutputError("cannot write into", self.folder, error.strerror, "Choose another --out") from error

    @property
    def staging(self) -> Path:
        """The folder that everything is written into until it is whole."""
        return self.folder / STAGING

    def _check_apart(self) -> None:
        out = Place.of(self.folder)
        for given, both in [(s, True) for s in self.sources] + [(u, False) for u in self.uses]:
            place = Place.of(given)
            if place.is_below(out):
                what = "results would take the place of what they are made from"
                raise OutputError(what, os.fspath(given), f"it lies in {printable(str(self.folder))}", "Choose another --out")
            if both and out.is_below(place):
                what = "results would lie among what they are made from"
                todo = f"Choose an --out beside it, for example -o {os.path.join(os.path.dirname(place.path), 'results')}"
                raise OutputError(what, self.folder, f"it lies in {printable(os.fspath(given))}", todo)

    def _check_content(self) -> None:
        if not self.folder.is_dir():
            return
        manifest = read_manifest(self.folder)
        entries = [n for n in os.listdir(self.folder) if n not in (MANIFEST, STAGING) and not n.startswith(TEMPORARY)]
        if os.path.lexists(self.staging):
            if not is_staging(self.staging):
                raise OutputError(
                    "cannot write into", self.staging, "a folder of that name is in the way", "Choose another --out"
                )
            made_by = _made_by(self.staging)
            if self.has_begun() and not (made_by == self.command and (self.overwrite or self.resume)):
                todo = "Use --resume or --overwrite, or" if self.command in RESUMABLE else "Use --overwrite, or"
                todo = f"{todo} another --out" if made_by == self.command else "Choose another --out"
                raise OutputError(f"an unfinished {made_by} is there", self.staging, None, todo)
            if self.resume:
                _check_plain(self.staging)
        if entries and not (self.overwrite or self.resume):
            raise OutputError("output folder is not empty", self.folder, None, "Use --overwrite, or another --out")
        self.replaces = bool(manifest.files)
        if manifest.files and manifest.command != self.command:
            what = f"the folder holds results of {manifest.command}, not of {self.command}"
            raise OutputError(what, self.folder, None, "Choose another --out")
        for name in self.names:
            for found in _files_below(self.folder, name):
                changed = found in manifest.files
                if not manifest.is_own(self.folder, found) and not (changed and self.repairs):
                    why = "it was changed since this tool wrote it" if changed else "this tool did not write it"
                    why += f"; {self.command} needs the name"
                    raise OutputError("a file is in the way", self.folder / found, why, "Move it away, or choose another --out")

    def _is_moving(self) -> bool:
        """Whether a call was stopped while it put whole results in their place."""
        return is_staging(self.staging) and any((self.staging / step).is_file() for step in (_WHOLE, _CLEARED))

    def _finish_moving(self) -> None:
        self._lock_it()
        try:
            _go_on_moving(self.folder)
            self.finished = True
        finally:
            self._unlock()

    def has_begun(self) -> bool:
        """Whether a stopped call left anything that is worth going on with."""
        if not is_staging(self.staging):
            return False
        own = {STAGING_MARKER, *self.beginnings}
        return any(n not in own and not n.startswith(TEMPORARY) for n in os.listdir(self.staging))

    @contextmanager
    def open(self) -> Iterator[Path]:
        """The folder to write into; its content takes the place of the earlier results when the block ends without an error.

        Raises:
            OutputError: it cannot be written to, another call works there, or the results cannot be moved in; they are in `staging` then.
        """
        self.keep = self.resume and self.has_begun()
        made = self._make()
        try:
            yield self.staging
        except BaseException:
            self._unlock()
            if not self.keep:
                shutil.rmtree(self.staging, ignore_errors=True)
                with suppress(OSError):  # not empty: earlier results
                    if made:
                        self.folder.rmdir()
            raise
        try:
            with finishing():
                self._commit()
        except OSError as error:
            then = "the next call moves them" if self._is_moving() else "the next --overwrite would discard them"
            todo = f"The new results are whole in {self.staging}; {then}"
            raise OutputError("cannot put the results in place", self.folder, error.strerror or error, todo) from error
        finally:
            self._unlock()

    def _make(self) -> bool:
        made = not self.folder.is_dir()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for stale in self.folder.glob(TEMPORARY + "*"):  # of a run that was killed while it wrote
                shutil.rmtree(stale, ignore_errors=True) if stale.is_dir() else stale.unlink(missing_ok=True)
            if is_staging(self.staging) and not (self.resume and self.has_begun()):
                self._lock_it()
                aside = self.folder / f"{TEMPORARY}{secrets.token_hex(8)}"
                os.replace(self.staging, aside)  # whoever comes now finds none
                self._unlock()
                shutil.rmtree(aside)
            if not self.staging.is_dir():
                new = self.folder / f"{TEMPORARY}{secrets.token_hex(8)}"
                new.mkdir()
                (new / STAGING_MARKER).write_text(self.command + "\n", "utf-8")
                os.replace(new, self.staging)  # it never lacks its marker
            self._lock_it()
            if self.repairs:
                renew_manifest(self.folder)
        except BaseException as error:
            self._unlock()
            if isinstance(error, OSError):
                raise OutputError("cannot write into", self.folder, error.strerror, "Choose another --out") from error
            raise
        return made

    def _lock_it(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows: an open file cannot be removed by another call there
            return
        self._lock = open(self.staging / STAGING_MARKER, "r+", encoding="utf-8")  # noqa: SIM115 -- held until the results are in place
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._unlock()
            raise OutputError(
                "another call is writing there", self.folder, None, "Wait for it, or choose another --out"
            ) from None

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _commit(self) -> None:
        names = []
        for root, _, files in os.walk(self.staging):
            below = os.path.relpath(root, self.staging).replace(os.sep, "/")
            for stale in (n for n in files if n.startswith(TEMPORARY)):  # of the killed call that this one goes on from
                with suppress(PermissionError):  # Windows: it is still open, and goes with its folder
                    os.unlink(os.path.join(root, stale))
            names += [f"{below}/{n}" if below != "." else n for n in files if not n.startswith(TEMPORARY)]
            _sync_folder(root)
        new = {name: Facts.of(self.staging / name) for name in names if name not in _OWN}
        old = read_manifest(self.folder)
        for name in new:
            if os.path.lexists(self.folder / name) and not old.is_own(self.folder, name):
                raise FileExistsError(17, f"'{printable(name)}' has come in the way")
        write_manifest(self.staging / MANIFEST, self.command, new)
        (self.staging / _WHOLE).touch()
        _go_on_moving(self.folder)


_OWN = frozenset([STAGING_MARKER, MANIFEST, JOURNAL, _WHOLE, _CLEARED])


def _go_on_moving(folder: Path) -> None:
    """Put whole results in their place, from whichever step a call was stopped at."""
    staging = folder / STAGING
    if (staging / _WHOLE).is_file():
        remove_written(folder, read_manifest(folder))
        os.replace(staging / _WHOLE, staging / _CLEARED)
    _move_into(staging, folder, _OWN)
    if (staging / MANIFEST).is_file():
        os.replace(staging / MANIFEST, folder / MANIFEST)
    _sync_folder(folder)
    shutil.rmtree(staging, ignore_errors=True)


def _move_into(source: Path, target: Path, left: frozenset[str] = frozenset()) -> None:
    """Move what is in a folder into another one, folder by folder where they are there: somebody else's files stay beside them."""
    for name in sorted(os.listdir(source)):
        if name in left or name.startswith(TEMPORARY):
            continue
        here, there = source / name, target / name
        if not os.path.lexists(there):
            os.replace(here, there)
        elif here.is_dir() and there.is_dir() and not there.is_symlink():
            _move_into(here, there)
        else:
            raise FileExistsError(17, f"'{printable(name)}' has come in the way")


def _check_plain(staging: Path) -> None:
    """See that a folder that is gone on with holds plain files and folders only: it may come from a stranger.

    Raises:
        OutputError: it holds a link, a pipe or a device.
    """
    for root, folders, files in os.walk(staging):
        for path in (os.path.join(root, n) for n in [*folders, *files]):
            if not stat.S_ISDIR(mode := os.lstat(path).st_mode) and not stat.S_ISREG(mode):
                raise OutputError(
                    "cannot go on in", staging, f"{printable(path)} is no plain file", "Remove it, or use --overwrite"
                )


def _files_below(folder: Path, name: str) -> Iterator[str]:
    """What is at a name: the file itself or, of a folder, the files in it; relative to `folder`, with `/`."""
    path = folder / name
    if path.is_symlink() or not path.is_dir():
        if os.path.lexists(path):
            yield name
        return
    for root, folders, files in os.walk(path):
        below = os.path.relpath(root, folder).replace(os.sep, "/")
        yield from (f"{below}/{n}" for n in files)
        yield from (f"{below}/{n}" for n in folders if os.path.islink(os.path.join(root, n)))


def _made_by(staging: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return printable((staging / STAGING_MARKER).read_text("utf-8")[:40].strip()) or "call"
    return "call"


def _sync_folder(folder: str | os.PathLike[str]) -> None:
    """Wait until the disk has a folder's entries; not on systems where folders cannot be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
