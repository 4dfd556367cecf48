"""Options that several commands share, so that they are called the same everywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from stn_cli.cli.completion import DEVICES, offers
from stn_cli.errors import OutputError, UsageError

FILE_SUFFIXES = frozenset((
    ".avi", ".csv", ".gif", ".htm", ".html", ".jpeg", ".jpg", ".json", ".jsonl", ".m4v", ".mkv", ".mov", ".mp4", ".png", ".pt",
    ".safetensors", ".toml", ".txt", ".webm", ".xml", ".yaml", ".zip",
))  # fmt: skip
"""Endings that nobody gives a folder on purpose."""


def parse_out(text: str) -> Path:
    """`--out` of a command that writes a folder.

    Args:
        text: as it was typed.

    Returns:
        The folder.

    Raises:
        UsageError: empty (the present folder would be taken), or a file's name.
    """
    path = _path(text, "--out")
    if not os.path.lexists(path):
        path = Path(os.path.normpath(path))  # `new/..` is a folder that is there
    if path.suffix.lower() in FILE_SUFFIXES and not os.path.isdir(path):
        raise UsageError("--out is a folder, and this is a file's name", text, None, f"Did you mean -o {path.with_suffix('')}")
    return path


def parse_page(text: str) -> Path:
    """`--out` of `report`, a file; raises as `_file` does.

    Args:
        text: as it was typed.

    Returns:
        The file.
    """
    return _file(text, "--out")


def parse_csv(text: str) -> Path:
    """`--csv` of `evaluate`; raises as `_file` does.

    Args:
        text: as it was typed.

    Returns:
        The file.
    """
    return _file(text, "--csv")


def _file(text: str, flag: str) -> Path:
    """The path of a file that is going to be written.

    Raises:
        UsageError: it is empty.
        OutputError: it can only be a folder.
    """
    from stn_cli.outputs.targets import names_a_folder  # help must not wait for it

    path = _path(text, flag)
    if names_a_folder(text):
        raise OutputError(f"{flag} is a file, and this is a folder's name", text, None, "Name the file in it")
    return path


def _path(text: str, flag: str) -> Path:
    """A path that may not be empty.

    Raises:
        UsageError: it is.
    """
    if not text.strip():
        raise UsageError(f"{flag} must not be empty", text, None, "Leave it out, or name what is to be written")
    return Path(text)


RUN, BOXES, TRACKS, ENCODER = "stn-coloc-run", "stn-coloc-boxes", "stn-coloc-tracks", "stn-coloc-encoder"
DATA_SET = "stn-coloc-dataset"
"""Where results go unless `--out` says otherwise."""


def out_folder(default: str, parser: Callable[[str], object] = parse_out) -> OptionInfo:
    """`--out` of a command that writes a folder, `default` when left out.

    Args:
        default: name of the folder when the flag is left out.
        parser: what makes a place of what was typed; `parse_place` where it may lie in an object store.

    Returns:
        The option, for Typer.
    """
    option: OptionInfo = typer.Option(
        "--out", "-o", metavar="<path>", parser=parser, help="Folder for the results; made if missing.", show_default=default
    )
    return option


def parse_place(text: str) -> str:
    """A folder as `parse_out` takes it, or a URL as it is.

    Args:
        text: as it was typed.

    Returns:
        Its path, or the URL.

    Raises:
        UsageError: empty, or a file's name.
    """
    return text if "://" in text else str(parse_out(text))


OutFile = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="<path>", parser=parse_page, help="The page.", show_default="report.html in the run"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier call wrote there, and nothing else.")]
Device = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda, cuda:N or mps.", show_default="auto", autocompletion=offers(*DEVICES)),
]
Workers = Annotated[int | None, typer.Option(help="Decoding threads.", show_default="one per core, or as --threads says")]
Threads = Annotated[
    int | None, typer.Option(help="Threads that compute, and that decode.", show_default="one per core that may be used")
]
MaxPixels = Annotated[int | None, typer.Option(help="Skip images with more pixels.", show_default="250000000")]
MinScore = Annotated[float, typer.Option(help="Leave out objects below this score.")]
LeastScore = Annotated[
    float | None,
    typer.Option(
        help="Leave out objects below this score.",
        show_default="0.5, but for the best one of each image; boxes.json marks the rest",
    ),
]
KeptScore = Annotated[
    float | None,
    typer.Option(help="Leave out objects below this score.", show_default="those that localise marked as not believed"),
]
Label = Annotated[str | None, typer.Option(help="What the object is called in results.", show_default="object")]
Labels = Annotated[
    str | None, typer.Option(help="The same for several kinds, in their order, with commas.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Strict = Annotated[bool, typer.Option("--strict", help="End with code 3 if any file was skipped.")]


def one_or_all(sources: list[str] | None) -> str | list[str] | None:
    """What stands after a command: nothing, one source, or several (the shell opens patterns).

    Args:
        sources: as the shell gave them.

    Returns:
        What `scan` takes.
    """
    if not sources:
        return None
    return sources[0] if len(sources) == 1 else sources


def names_in(text: str) -> tuple[str, ...]:
    """The names in a list with commas, as `--format` takes them.

    Args:
        text: as it was typed.

    Returns:
        The names.
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())
