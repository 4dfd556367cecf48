"""What is to be localised on a cluster: a folder or a list that all machines see, an object store, or Parquet."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stn_cli.errors import InputError, UsageError
from stn_cli.formats.shards import one_line
from stn_cli.jobs.cluster.pieces import Piece, absolute, pieces_of_files, pieces_of_tables
from stn_cli.jobs.cluster.tables import Columns, choose_columns, row_groups
from stn_cli.media.scan import EXTENSIONS, ImageFile, Scan, places_of, require_images, root_of, scan
from stn_cli.runs.folder import read_images

STORE = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
"""What the name of an object store, or of a file in one, begins with."""
TABLE = ".parquet"
_KEYS = re.compile(r"(?<=://)[^/?]*@")
Source = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None


@dataclass(frozen=True, slots=True)
class ClusterSource:
    """The images of a call.

    Attributes:
        files: pyarrow's file system; None where paths are those of the machines' own, which all of them must see.
        images: of a folder or a list, in order.
        groups: of tables, each file's path and the rows of its row groups.
        columns: where tables have their images.
        scan: what was left out, and remarks.
        root: the folder that names are relative to, where there is one.
        folders, beside: that results may not lie in, and their neighbours, see `places_of`.
    """

    files: Any = None
    images: Sequence[ImageFile] = ()
    groups: Sequence[tuple[str, Sequence[int]]] = ()
    columns: Columns | None = None
    scan: Scan = field(default_factory=Scan)
    root: str | None = None
    folders: Sequence[str] = ()
    beside: Sequence[str] = ()

    @property
    def count(self) -> int:
        """Images in all."""
        return len(self.images) + sum(sum(rows) for _, rows in self.groups)

    def pieces(self, batch: int) -> Iterator[Piece]:
        """What tasks read.

        Args:
            batch: images of a chunk.
        """
        return pieces_of_tables(self.groups, batch) if self.groups else pieces_of_files(self.images, batch)

    def notes(self) -> list[str]:
        """What a person should hear of the listing."""
        return self.scan.notes

    def digest(self) -> str:
        """What tells it from another source."""
        names = (f.name for f in self.images)
        rows = (f"{posixpath.basename(path)}:{','.join(map(str, sizes))}" for path, sizes in self.groups)
        total = hashlib.sha256()
        for text in (*names, *rows):
            total.update(text.encode("utf-8", "surrogateescape") + b"\0")
        return total.hexdigest()


def is_store(text: object) -> bool:
    """Whether something names a place in an object store, or any other place by a URL.

    Args:
        text: a source or a target.

    Returns:
        True for `s3://bucket/folder`, `gs://...`, `file:///...`.
    """
    return isinstance(text, str) and STORE.match(text) is not None


def without_keys(url: str) -> str:
    """A URL as it may be shown.

    Args:
        url: one with keys in it, such as `s3://KEY:SECRET@bucket/folder`, or any other.

    Returns:
        The same without them.

    >>> without_keys("s3://KEY:SECRET@bucket/folder?region=eu"), without_keys("s3://bucket/a@b")
    ('s3://***@bucket/folder?region=eu', 's3://bucket/a@b')
    """
    return _KEYS.sub("***@", url)


def place_below(url: str, name: str) -> str:
    """Where a file of a store's folder is.

    Args:
        url: of the folder; what stands behind `?` says how the store is reached.
        name: of the file.

    Returns:
        Its URL.

    >>> place_below("s3://bucket/boxes/?scheme=http", "boxes.parquet")
    's3://bucket/boxes/boxes.parquet?scheme=http'
    """
    folder, mark, how = url.partition("?")
    return f"{folder.rstrip('/')}/{name}{mark}{how}"


def store_of(url: str) -> tuple[Any, str]:
    """pyarrow's file system of a URL, and the path in it.

    Args:
        url: such as `s3://bucket/folder`.

    Returns:
        Both.

    Raises:
        InputError: no such kind of store, or it cannot be reached.
    """
    import pyarrow
    from pyarrow import fs

    try:
        files, path = fs.FileSystem.from_uri(url)
    except (OSError, pyarrow.ArrowException) as error:
        why = without_keys(one_line(error))
        raise InputError("no usable object store", without_keys(url), why, "Known: s3://, gs://, hdfs://, file://") from error
    return files, path.rstrip("/") or "/"


def open_source(source: Source, run: Path, column: str | None) -> ClusterSource:
    """List a source.

    Args:
        source: as `stn_cli.media.scan.scan` takes it; or the URL of a folder or of a Parquet file in an object store; or Parquet of this
            machine; the run's own images when None.
        run: the run folder.
        column: of a table, where its images are.

    Returns:
        The images, listed and not opened.

    Raises:
        UsageError: paths on standard input, which no other machine can read.
        InputError: nothing there, no rights, or no image.
    """
    several = [source] if source is None or isinstance(source, str | os.PathLike) else list(source)
    if "-" in several:
        raise UsageError("--engine ray cannot read paths from standard input", "-", None, "Write them to a .txt list")
    only = several[0] if len(several) == 1 else None
    if any(is_store(part) for part in several) and only is None:
        raise UsageError("--engine ray takes one object store at a time", without_keys(str(next(filter(is_store, several)))))
    if is_store(only):
        files, path = store_of(str(only))
        found = _in_store(files, path, str(only), column)
    elif only is not None and (tables := _tables_here(os.fspath(only))):
        from pyarrow import fs

        found = _of_tables(fs.LocalFileSystem(), tables, os.fspath(only), column, [os.fspath(only)])
    else:
        listed = Scan(read_images(run), []) if source is None else scan(source)
        folders, beside = places_of(source, listed)
        found = ClusterSource(None, absolute(listed.images), (), None, listed, root_of(listed.images), folders, beside)
    if column is not None and not found.groups:
        raise UsageError("--column is of a Parquet file, and the source is none", column)
    shown = without_keys(os.fspath(only)) if only else run
    require_images(Scan([ImageFile("", "")] * min(1, found.count), found.scan.skipped, found.scan.notes), shown)
    return found


def _tables_here(path: str) -> list[str]:
    """The Parquet files that a path of this machine stands for: itself, or those of a folder that holds no images."""
    if os.path.isfile(path):
        return [os.path.abspath(path)] if path.endswith(TABLE) else []
    if not os.path.isdir(path):
        return []
    names = sorted(os.listdir(path))
    images = any(os.path.splitext(name)[1].lower() in EXTENSIONS for name in names)
    return [] if images else [os.path.abspath(os.path.join(path, name)) for name in names if name.endswith(TABLE)]


def _in_store(files: Any, path: str, url: str, column: str | None) -> ClusterSource:
    import pyarrow
    from pyarrow import fs

    try:
        here = files.get_file_info(path)
        if here.type == fs.FileType.NotFound:
            raise InputError("no such file or folder", without_keys(url))
        found = [here] if here.is_file else files.get_file_info(fs.FileSelector(path, recursive=True))
        listed = [f.path for f in found if f.is_file]
    except (OSError, pyarrow.ArrowException) as error:
        todo = "Check its name, and the rights of whoever runs this"
        raise InputError("cannot list", without_keys(url), one_line(error), todo) from error
    root = posixpath.dirname(path) if here.is_file else path
    images = [p for p in listed if posixpath.splitext(p)[1].lower() in EXTENSIONS]
    tables = sorted(p for p in listed if p.endswith(TABLE))
    if tables and not images:
        return _of_tables(files, tables, without_keys(url), column, [path] if url.startswith("file:") else [])
    named = sorted((os.fsencode(posixpath.relpath(p, root)), p) for p in images)
    given = [ImageFile(p, os.fsdecode(name)) for name, p in named]
    own = url.startswith("file:")
    return ClusterSource(files, given, root=root if own else None, folders=[root] if own and not here.is_file else [])


def _of_tables(files: Any, tables: Sequence[str], given: str, column: str | None, folders: Sequence[str]) -> ClusterSource:
    groups, schema = row_groups(files, tables)
    columns = choose_columns(schema, column, given)
    return ClusterSource(files, (), groups, columns, folders=folders)
