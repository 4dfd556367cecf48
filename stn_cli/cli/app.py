"""The `stn-coloc` program: commands, exit codes, one line per error."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import Any

import typer

from stn_cli.cli.doctor import doctor
from stn_cli.cli.evaluate import evaluate
from stn_cli.cli.localise import localise
from stn_cli.cli.pretrain import pretrain
from stn_cli.cli.report import report
from stn_cli.cli.track import track
from stn_cli.cli.train import train
from stn_cli.errors import ColocError, printable

COLLECT_AFTER = 50_000
"""Objects that are made before the collector looks, 700 otherwise."""

app = typer.Typer(
    name="stn-coloc",
    help="Find the common object of a folder of images, without labels.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, localise, track, evaluate, report, pretrain, doctor):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        from stn_cli import __version__

        typer.echo(f"stn-coloc {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and exit."),
) -> None:
    """Find the common object of a folder of images, without labels.

    stn-coloc train ./images && stn-coloc localise --overlay
    """


def run(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    try:
        code = app(args=given, prog_name="stn-coloc", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # the reader of stdout has gone; what it did not want is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ColocError as error:
        if debug:
            raise
        _complain(error.line())
        return error.exit_code
    except KeyboardInterrupt:
        _complain("stopped (interrupted)")
        return 130
    except Exception as error:
        usage: Any = getattr(error, "format_message", None)  # the parser's own errors, whichever click typer brings
        if usage is not None:
            _complain(" ".join(str(usage()).split()))
            return int(getattr(error, "exit_code", 2))
        if type(error).__name__ == "Abort":
            _complain("stopped")
            return 130
        if debug:
            raise
        _complain(f"bug: {type(error).__name__} ({printable(str(error))}). Run again with --debug and report what it prints")
        return 1


def _complain(line: str) -> None:
    print(f"error: {line}", file=sys.stderr)


def main() -> None:
    """Entry point of the `stn-coloc` script.

    Python's collector of cycles looks at the hundred thousands of objects that importing torch makes, again and again, and taking them
    apart at the end has no use either: together more than half a second. All files are closed by then.
    """
    gc.set_threshold(COLLECT_AFTER, 10, 10)
    code = run()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
