"""fast.safetensors in a run's folder: the student of its model, or that there is none to be believed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stn_cli.coloc.model.fast import FastLook
from stn_cli.coloc.model.settings import FAST
from stn_cli.encoders.small import MOST_ENCODER_BYTES
from stn_cli.encoders.weights import fill
from stn_cli.errors import CheckpointError, OutputError
from stn_cli.files import write_bytes
from stn_cli.instances.student import StudentNetwork
from stn_cli.outputs.manifest import note_written
from stn_cli.reading import read_plain
from stn_cli.runs.container import Damaged, pack, unpack
from stn_cli.runs.folder import MODEL

FAST_FILE = "fast.safetensors"
ARCHITECTURE = "fast-1"


@dataclass(frozen=True, slots=True)
class Fast:
    """What `--fast` does with a run.

    Attributes:
        look: with its student; None where that is not to be believed.
        said: why, in words: how well it agrees with the run's own path.
        images: that it was learnt from.
    """

    look: FastLook | None
    said: str
    images: int = 0


def save_fast(run: Path, fast: Fast) -> None:
    """Keep what was learnt beside the model that it was learnt from.

    Args:
        run: its folder.
        fast: what was learnt.

    Raises:
        OutputError: the file cannot be written.
    """
    write_bytes(run / FAST_FILE, packed_fast(run, fast))
    note_written(run, FAST_FILE)


def packed_fast(run: Path, fast: Fast) -> bytes:
    """The content of the file: equal students of equal models are equal bytes.

    Args:
        run: the run's folder.
        fast: what was learnt.

    Returns:
        The bytes.
    """
    facts = {
        "architecture": ARCHITECTURE,
        "model": digest_of(run),
        "said": fast.said,
        "images": fast.images,
        "side": 0,
        "kinds": 0,
    }
    tensors = {}
    if fast.look is not None:
        facts |= {"side": fast.look.side, "kinds": fast.look.network.kinds}
        state = fast.look.network.state_dict()
        tensors = {name: value.half() for name, value in state.items() if not name.endswith("num_batches_tracked")}
    return pack(tensors, facts)


def keep_fast(run: Path, fast: Fast, warn: Callable[[str], None]) -> None:
    """Keep it where the folder can be written; else say that it is made again the next time.

    Args:
        run: its folder.
        fast: what was learnt.
        warn: called where it cannot be kept.
    """
    try:
        save_fast(run, fast)
    except OutputError as error:
        warn(f"the fast network is not kept: {error.line()}")


def load_fast(run: Path, kinds: int) -> Fast | None:
    """What `save_fast` kept of the model that the run has now.

    Args:
        run: its folder.
        kinds: of objects that the model finds.

    Returns:
        It; None where there is nothing, or what another model or version has left.

    Raises:
        CheckpointError: the file is damaged.
    """
    path, todo = run / FAST_FILE, "Remove the file: --fast makes it again"
    try:
        tensors, facts = unpack(read_plain(path, MOST_ENCODER_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError("cannot read the fast network", path, error.strerror, todo) from error
    except Damaged as error:
        raise CheckpointError("damaged fast network", path, error, todo) from error
    if facts.get("architecture") != ARCHITECTURE or facts.get("model") != digest_of(run):
        return None
    said, side, images = facts.get("said"), facts.get("side"), facts.get("images")
    usable = isinstance(side, int) and (not tensors or (side in FAST.sides and facts.get("kinds") == kinds))
    if (
        not isinstance(said, str)
        or not said.isprintable()
        or not isinstance(side, int)
        or not isinstance(images, int)
        or not usable
    ):
        raise CheckpointError("damaged fast network", path, "its facts are none that can be", todo)
    if not tensors:
        return Fast(None, said, images)
    network = StudentNetwork(kinds)
    fill(network, {name: value.float() for name, value in tensors.items()}, "the fast look", path)
    return Fast(FastLook(network.eval().requires_grad_(False), side, said), said, images)


def digest_of(run: Path) -> str:
    """The SHA-256 of a run's model.

    Args:
        run: its folder.

    Returns:
        Hexadecimal digits.
    """
    return hashlib.sha256((run / MODEL).read_bytes()).hexdigest()
