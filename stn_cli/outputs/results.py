"""Results folders: new results take their place only when they are whole.

While a call works everything it writes lies in `OUT/unfinished`. When it is whole, exactly those earlier files go that the manifest
`OUT/.stn-coloc` lists, the new ones are moved in, and the manifest lists them. A call that fails or is killed leaves the earlier results as
they were; if it is killed between the two last steps the next call finishes them.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
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
    is_staging,
    read_manifest,
    renew_manifest,
)
from stn_cli.outputs.moving import check_plain_files, files_below, go_on_moving, is_moving, put_in_place
from stn_cli.outputs.places import Place
from stn_cli.runtime.stopping import finishing

RESUMABLE = frozenset(["train", "localise", "pretrain"])


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
            if is_moving(self.folder):
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
                why = "--out is the same" if place.path == out.path else f"it lies in {printable(str(self.folder))}"
                raise OutputError(what, os.fspath(given), why, "Choose another --out")
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
                check_plain_files(self.staging)
        if entries and not (self.overwrite or self.resume):
            raise OutputError("output folder is not empty", self.folder, None, "Use --overwrite, or another --out")
        self.replaces = bool(manifest.files)
        if manifest.files and manifest.command != self.command:
            what = f"the folder holds results of {manifest.command}, not of {self.command}"
            raise OutputError(what, self.folder, None, "Choose another --out")
        self.check_names(self.names)

    def check_names(self, names: Iterable[str]) -> None:
        """See that nobody else's file has a name that is wanted.

        Args:
            names: of files and folders below `folder`; of a folder nothing else's may lie in it.

        Raises:
            OutputError: one has.
        """
        manifest = read_manifest(self.folder)
        for name in names:
            for found in files_below(self.folder, name):
                changed = found in manifest.files
                if not manifest.is_own(self.folder, found) and not (changed and self.repairs):
                    why = "it was changed since this tool wrote it" if changed else "this tool did not write it"
                    why += f"; {self.command} needs the name"
                    raise OutputError("a file is in the way", self.folder / found, why, "Move it away, or choose another --out")

    def _finish_moving(self) -> None:
        self._lock_it()
        try:
            go_on_moving(self.folder)
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
                put_in_place(self.folder, self.command)
        except OSError as error:
            then = "the next call moves them" if is_moving(self.folder) else "the next --overwrite would discard them"
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


def _made_by(staging: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return printable((staging / STAGING_MARKER).read_text("utf-8")[:40].strip()) or "call"
    return "call"
