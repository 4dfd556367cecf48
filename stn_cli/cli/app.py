"""The `stn-coloc` program: commands, exit codes, one line per error."""

from __future__ import annotations

import codecs
import errno
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer

from stn_cli.bounds import shown
from stn_cli.cli.completion import asks_for_completion, no_such_shell, not_installed
from stn_cli.cli.doctor import doctor
from stn_cli.cli.evaluate import evaluate
from stn_cli.cli.export import export
from stn_cli.cli.localise import localise
from stn_cli.cli.pretrain import pretrain
from stn_cli.cli.report import report
from stn_cli.cli.review import review
from stn_cli.cli.track import track
from stn_cli.cli.train import train
from stn_cli.errors import ColocError, InputError, OutputError, ResourceError, out_of_memory, printable
from stn_cli.runtime.room import address_limit

ANYTHING = "stn-coloc"
"""Name of the error handler that encodes characters which a terminal lacks."""
COLLECT_AFTER = 50_000
"""Objects that are made before Python's collector of cycles looks for the first time; its default is 700."""
NO_THREAD = "can't start new thread"
"""Python's words for it, in a RuntimeError."""
STOPPED = 130
"""Exit code that Typer gives for Ctrl-C, without a message, where no `StopRequest` is open: mostly while libraries are loaded."""

app = typer.Typer(
    name="stn-coloc",
    help="Find the common object of a folder of images, without labels.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, localise, export, review, track, evaluate, report, pretrain, doctor):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        from stn_cli.version import __version__

        typer.echo(f"stn-coloc {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and exit."),
) -> None:
    """Find the common object of a folder of images, without labels.

    stn-coloc train ./images && stn-coloc localise --overlay
    """
    try:
        os.getcwd()
    except OSError as error:  # libraries end the process when they look for it
        raise InputError(
            "the folder that this was started in is gone", None, error.strerror, "Go to one that exists"
        ) from error


def run(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code.

    Args:
        arguments: of the command line; those of the process when left out.

    Returns:
        The exit code.
    """
    given = sys.argv[1:] if arguments is None else arguments
    codecs.register_error(ANYTHING, _as_it_came)
    print_anything()
    try:
        code = app(args=given, prog_name="stn-coloc", standalone_mode=False)
        sys.stdout.flush()
        return _code_of(code, given)
    except SystemExit as left:  # so Typer ends what it does for completion
        return left.code if isinstance(left.code, int) else 0
    except BrokenPipeError:
        # the reader of stdout has gone; what it did not want is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _complain("stopped (interrupted)")
        return STOPPED
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            context: Any = getattr(error, "ctx", None)
            print(context.get_help(), file=sys.stderr)
            return 2
        known = _known(error, given)
        usage: Any = getattr(error, "format_message", None)  # the parser's own errors, whichever click typer brings
        if known is None and usage is not None:
            _complain(printable(" ".join(str(usage()).split())))
            return int(getattr(error, "exit_code", 2))
        if type(error).__name__ == "Abort":
            _complain("stopped")
            return STOPPED
        if "--debug" in given:
            raise
        if known is not None:
            _complain(known.line())
            return known.exit_code
        _complain(f"bug: {type(error).__name__} ({printable(str(error))}). Run again with --debug and report what it prints")
        return 1


def _code_of(code: object, given: Sequence[str]) -> int:
    """What Typer gives back for a command line that it went through, as the exit code."""
    if code == STOPPED:
        _complain("stopped (interrupted)")
    if code == 1 and asks_for_completion(given):
        raise no_such_shell()
    return code if isinstance(code, int) else 0


def _known(error: Exception, given: Sequence[str]) -> ColocError | None:
    """An error that a user can act on; None for all else."""
    if isinstance(error, ColocError):
        return error
    if isinstance(error, OSError) and asks_for_completion(given):
        return not_installed(error)
    return _of_the_system(error)


def print_anything() -> None:
    """Let any name be printed on any terminal: what its encoding lacks is escaped. What is printed to a closed stream is dropped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ANYTHING)


def _as_it_came(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of a file's name as they are, so that a path that is printed can be used; of all else its escape."""
    if isinstance(error, UnicodeEncodeError):
        text = error.object[error.start : error.end]
        with suppress(UnicodeEncodeError):
            return b"".join(char.encode("ascii", "surrogateescape") for char in text), error.end
    return codecs.backslashreplace_errors(error)


def _out_of_memory() -> ResourceError:
    limit = address_limit()
    if limit is None:
        return ResourceError("out of memory", todo="Lower --batch or --imgsz, or use a machine with more")
    return ResourceError("out of memory", f"ulimit -v {limit >> 10}", "a limit is set", "Raise it, or lower --batch or --imgsz")


def _of_the_system(error: Exception) -> ColocError | None:
    """What the operating system refused anywhere, as an error that a user can act on; None for all else."""
    if out_of_memory(error) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return _out_of_memory()
    if str(error) == NO_THREAD:
        todo = "Lower --workers, or raise the limits on memory and processes (ulimit -v, ulimit -u)"
        return ResourceError("the system gives no more threads", todo=todo)
    if isinstance(error, ImportError):
        return _of_an_import(error)
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN):
        return ResourceError(
            "the system gives no more files or processes", None, error.strerror, "Close some, or lower --workers"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        return OutputError("cannot write", error.filename, error.strerror, "Free some space or choose another --out")
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        name = None if error.filename is None else shown(os.fsdecode(error.filename))
        return InputError("no usable path", name, error.strerror)
    return None


def _of_an_import(error: ImportError) -> ColocError | None:
    """What to install where a package that this one stands on is missing or cannot be loaded; None for a fault of our own."""
    package = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError):
        known = package and package != "stn_cli"
        todo = "pip install stn-coloc again; stn-coloc doctor says what else is missing"
        return ResourceError("a package is missing", package, todo=todo) if known else None
    library, _, rest = str(error).partition(": ")
    if "shared object" not in rest:
        return None
    todo = "stn-coloc doctor says what is there"
    if package in ("cv2", ""):
        todo = (
            "OpenCV lacks a library of the display: install it (Debian, Ubuntu: apt install libgl1 libglib2.0-0), "
            "or put opencv-python-headless in the place of opencv-python"
        )
    return ResourceError("a library cannot be loaded", shown(library), shown(rest), todo)


def _complain(line: str) -> None:
    with suppress(OSError):  # nobody reads it
        print(f"error: {line}", file=sys.stderr)


def main() -> None:
    """Entry point of the `stn-coloc` script.

    Python's collector of cycles looks at the hundred thousands of objects that importing torch makes, again and again, and taking them
    apart at the end has no use either: together more than half a second. All files are closed by then.
    """
    gc.set_threshold(COLLECT_AFTER, 10, 10)
    _open_closed()
    code = run()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def _open_closed() -> None:
    """Put the null device where a standard stream is closed: else the next file that is opened would be taken for it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
