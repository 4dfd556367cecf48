"""`boxes.parquet` as a folder: Parquet shards of records, written as they come from many machines, in any order, each image once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from stn_cli.errors import CheckpointError, OutputError
from stn_cli.files import TEMPORARY, name_from_results, name_in_results
from stn_cli.formats.parquet import arrow_columns, require_pyarrow
from stn_cli.records import ImageRecord, Skipped

FACTS = b"stn-coloc"
"""Key of the facts about a shard in its footer."""
PREFIX = "part-"
"""What the name of a shard begins with."""


@dataclass(slots=True)
class Outcome:
    """What came of some images."""

    images: int = 0
    objects: int = 0
    doubtful: int = 0
    left_out: int = 0
    skipped: int = 0

    def add(self, other: Outcome) -> None:
        """Count others, too."""
        self.images += other.images
        self.objects += other.objects
        self.doubtful += other.doubtful
        self.left_out += other.left_out
        self.skipped += other.skipped

    @classmethod
    def of(cls, items: Iterable[ImageRecord | Skipped]) -> Outcome:
        """Those of some records."""
        found = cls()
        for item in items:
            if isinstance(item, Skipped):
                found.skipped += 1
                continue
            found.images += 1
            believed = [o.score for o in item.objects if o.believed]
            found.objects += len(believed)
            found.doubtful += sum(score < 0.5 for score in believed)
            found.left_out += len(item.objects) - len(believed)
        return found


def shard_schema() -> Any:
    """Columns of a shard.

    Returns:
        pyarrow's schema: `number` of the image in its source from 0, the columns of `boxes.parquet`, `theta`, `believed`, and `reason` of a
        skipped file.
    """
    require_pyarrow()
    import pyarrow

    more = [("theta", pyarrow.list_(pyarrow.float64())), ("believed", pyarrow.bool_()), ("reason", pyarrow.string())]
    return pyarrow.schema([("number", pyarrow.int64()), *arrow_columns(pyarrow), *more])


def rows_of(items: Sequence[ImageRecord | Skipped], numbers: Sequence[int], names: Sequence[str]) -> Any:
    """Records as a table: a row for each box; an image without an object has one row whose box is null, a skipped file one with its reason.

    Args:
        items: records of images.
        numbers: of the images in their source.
        names: of the kinds of objects.

    Returns:
        A pyarrow table with the columns of `shard_schema`.
    """
    import pyarrow

    rows = list[dict[str, Any]]()
    for number, item in zip(numbers, items, strict=True):
        image: dict[str, Any] = {"number": number, "file": name_in_results(item.file)}
        if isinstance(item, Skipped):
            rows.append({**image, "reason": item.reason})
            continue
        image |= {"width": item.width, "height": item.height}
        for found in item.objects:
            x1, y1, x2, y2 = found.box
            box = {"kind": names[found.kind], "x1": x1, "y1": y1, "x2": x2, "y2": y2, "score": found.score, "mask": found.mask}
            quad = [value for point in found.quad for value in point]
            rows.append({**image, **box, "quad": quad, "theta": list(found.theta), "believed": found.believed})
        if not item.objects:
            rows.append(image)
    return pyarrow.Table.from_pylist(rows, shard_schema())


@dataclass(slots=True)
class ShardFolder:
    """A folder of shards, on a disk or in an object store.

    Attributes:
        files: pyarrow's file system.
        path: the folder in it.
        facts: what every shard says beside what it holds: the names of the kinds, and the folder that names are relative to.
        head: what the records depend on; shards of another head are not gone on with.
    """

    files: Any
    path: str
    facts: dict[str, Any]
    head: dict[str, Any]
    _waiting: dict[int, Any] = field(default_factory=dict)
    _counts: Outcome = field(default_factory=Outcome)

    def add(self, chunk: int, table: Any, counts: Outcome) -> None:
        """Keep the rows of a chunk of images until a shard is full."""
        self._waiting[chunk] = table
        self._counts.add(counts)

    @property
    def waiting(self) -> int:
        """Images that are in no shard yet."""
        return self._counts.images + self._counts.skipped

    def flush(self) -> None:
        """Write what waits as one shard, which appears under its name when it is whole.

        Raises:
            OutputError: it cannot be written.
        """
        if not self._waiting:
            return
        import pyarrow
        import pyarrow.parquet

        chunks = sorted(self._waiting)
        facts = {**self.facts, "head": self.head, "chunks": chunks, **asdict(self._counts)}
        table = pyarrow.concat_tables(self._waiting[n] for n in chunks).replace_schema_metadata({FACTS: json.dumps(facts)})
        name, temporary = f"{PREFIX}{chunks[0]:010d}.parquet", f"{TEMPORARY}{chunks[0]}"
        try:
            self.files.create_dir(self.path)
            with self.files.open_output_stream(f"{self.path}/{temporary}") as target:
                pyarrow.parquet.write_table(table, target)
            self.files.move(f"{self.path}/{temporary}", f"{self.path}/{name}")
        except (OSError, pyarrow.ArrowException) as error:
            raise OutputError("cannot write", f"{self.path}/{name}", one_line(error), "Go on with --resume") from error
        self._waiting.clear()
        self._counts = Outcome()

    def done(self) -> tuple[set[int], Outcome]:
        """The chunks that shards hold already, and what came of them.

        Raises:
            CheckpointError: a shard is damaged, or was made of other images, by another run or otherwise.
        """
        chunks, counts = set[int](), Outcome()
        for name in self.names():
            facts = read_facts(self.files, f"{self.path}/{name}")
            try:
                head, held = facts["head"], {int(chunk) for chunk in facts["chunks"]}
                counts.add(Outcome(*(int(facts[key]) for key in ("images", "objects", "doubtful", "left_out", "skipped"))))
            except (KeyError, TypeError, ValueError) as error:
                raise CheckpointError("damaged shard", f"{self.path}/{name}", one_line(error), "Use --overwrite") from error
            differing = [f"{k}: {head.get(k)!r}, now {v!r}" for k, v in self.head.items() if head.get(k) != v]
            if differing or chunks & held:
                why = ", ".join(differing) or "a chunk of images is there twice"
                todo = "Repeat the same command, or use --overwrite"
                raise CheckpointError("the unfinished results were made otherwise", self.path, why, todo)
            chunks |= held
        return chunks, counts

    def names(self) -> list[str]:
        """The shards that are there."""
        from pyarrow import fs

        found = self.files.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        return sorted(f.base_name for f in found if f.is_file and f.base_name.startswith(PREFIX))

    def skipped(self) -> Iterator[Skipped]:
        """The skipped files of all shards."""
        import pyarrow.parquet

        for name in self.names():
            with self.files.open_input_file(f"{self.path}/{name}") as file:
                if not int(read_facts(self.files, f"{self.path}/{name}").get("skipped", 1)):
                    continue
                columns = pyarrow.parquet.read_table(file, columns=["file", "reason"]).to_pydict()
            for image, reason in zip(columns["file"], columns["reason"], strict=True):
                if reason is not None:
                    yield Skipped(name_from_results(image), reason)


def read_facts(files: Any, path: str) -> dict[str, Any]:
    """What a shard's footer says of it; nothing where another program wrote it.

    Args:
        files: pyarrow's file system.
        path: of the shard in it.

    Returns:
        The facts.

    Raises:
        CheckpointError: it is no Parquet.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with files.open_input_file(path) as file:
            found = pyarrow.parquet.read_metadata(file).metadata or {}
        facts = json.loads(found.get(FACTS, b"{}"))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise CheckpointError("damaged shard", path, one_line(error), "Use --overwrite") from error
    return facts if isinstance(facts, dict) else {}


def one_line(error: BaseException) -> str:
    """What a library says of a failure.

    Args:
        error: of any library.

    Returns:
        Its text without line breaks, and not too long.
    """
    return " ".join(str(error).split())[:200]
