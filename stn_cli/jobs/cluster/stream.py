"""Pieces through a cluster: Ray Data runs tasks and actors, and keeps as much under way as the memory of its machines holds."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stn_cli.errors import ColocError, ResourceError
from stn_cli.formats.shards import one_line
from stn_cli.jobs.cluster.joining import DECODING_CPUS, ActorShares
from stn_cli.jobs.cluster.pieces import Piece
from stn_cli.jobs.cluster.rows import Found, read_found
from stn_cli.jobs.cluster.work import Decoding, decode_pieces

BLOCK_BYTES = 32 << 20
"""Decoded pixels that travel together: small beside a machine's memory, large beside what a message costs."""
MOST_PIECES = 16
"""Pieces of a block at most, so that a large set of small images is still spread evenly."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A job on a cluster that is joined.

    Attributes:
        decoding: how tasks decode.
        shares: of actors.
        actor: the class of the actors, and what they are made with.
    """

    decoding: Decoding
    shares: ActorShares
    actor: tuple[Callable[..., Any], Sequence[Any]]

    def run(self, pieces: Sequence[Piece]) -> Iterator[Found]:
        """What is found in pieces, chunk by chunk as it comes, each of them once.

        A process that is ended, or a machine that goes, costs its work only: Ray does that again elsewhere.

        Args:
            pieces: of the source.

        Yields:
            Number, records, counts and remarks of each chunk.

        Raises:
            ColocError: an actor cannot work, or the cluster is lost.
        """
        import ray
        import ray.data

        done = set[int]()
        try:
            for table in self._dataset(ray, pieces).iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
                for found in read_found(table) if table.num_rows else ():
                    if found[0] not in done:
                        done.add(found[0])
                        yield found
        except ray.exceptions.RayError as error:
            raise _cause(error) from error
        missing = sum(chunk not in done | piece.done for piece in pieces for chunk in piece.chunks(self.decoding.batch))
        if missing:
            raise ResourceError("the cluster lost results", f"{missing} chunks", todo="Go on with --resume")

    def _dataset(self, ray: Any, pieces: Sequence[Piece]) -> Any:
        import pyarrow

        _prepare(ray)
        rows = (pickle.dumps(piece) for piece in pieces)
        size = 1 if pieces[0].table else self._together(len(pieces))  # a row group is a block of its own
        tables = [pyarrow.table({"piece": pyarrow.array(part, "binary")}) for part in _parts(rows, size)]
        common: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}
        decoded = ray.data.from_arrow(tables).map_batches(
            decode_pieces, fn_args=(self.decoding,), num_cpus=DECODING_CPUS, **common
        )
        actor, arguments = self.actor
        return decoded.map_batches(
            actor,
            fn_constructor_args=tuple(arguments),
            compute=ray.data.ActorPoolStrategy(size=self.shares.actors),
            num_cpus=self.shares.cpus,
            num_gpus=self.shares.gpus,
            **common,
        )

    def _together(self, count: int) -> int:
        """Pieces of a block: several blocks for each actor in any case."""
        bytes_of_piece = self.decoding.batch * self.decoding.letterbox**2 * 3
        return max(1, min(MOST_PIECES, BLOCK_BYTES // bytes_of_piece, count // (4 * self.shares.actors)))


def _parts(rows: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    it = iter(rows)
    while part := list(islice(it, size)):
        yield part


def _prepare(ray: Any) -> None:
    """Settings of Ray Data: silent, and blocks of a moderate size."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK_BYTES
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its import has set another


def _cause(error: Any) -> ColocError:
    """What really went wrong, from what Ray says of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ColocError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return ResourceError("the cluster failed", None, one_line(error), "Go on with --resume")
