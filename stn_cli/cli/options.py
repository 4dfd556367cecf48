"""Options that several commands share, so that they are called the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where results go, exactly.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier call wrote there, and nothing else.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", show_default="auto")]
Workers = Annotated[int | None, typer.Option(help="Decoding threads.", show_default="one per core")]
MaxPixels = Annotated[int | None, typer.Option(help="Skip images with more pixels.", show_default="250000000")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Strict = Annotated[bool, typer.Option("--strict", help="End with code 3 if any file was skipped.")]


def one_or_all(sources: list[str] | None) -> str | list[str] | None:
    """What stands after a command: nothing, one source, or several (the shell opens patterns)."""
    if not sources:
        return None
    return sources[0] if len(sources) == 1 else sources
