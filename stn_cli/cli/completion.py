"""Tab completion: what the shell offers for values that are names, and what is said where it cannot be installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stn_cli.errors import OutputError, ResourceError

INSTALL, SHOW = "--install-completion", "--show-completion"
DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")
ENCODERS = ("small", "gradient", "dino_vits16", "resnet18", "resnet50", "convnext_tiny")
"""Some of those that are known by name; a folder is completed by the shell."""
SEARCHES = ("auto", "rigid", "deformable")
SHELLS = "bash, zsh, fish and PowerShell"


def offers(*names: str) -> Callable[[str], list[str]]:
    """A completion for Typer's `autocompletion`. Where no name fits, the shell offers files.

    Args:
        names: what may be typed.

    Returns:
        A function from the beginning of a word to the names that it may become.

    >>> offers("rigid", "deformable")("d")
    ['deformable']
    """

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def offers_list(*names: str) -> Callable[[str], list[str]]:
    """The same for names with commas between them: what is there stays, and the last one is completed.

    Args:
        names: what may stand between commas.

    Returns:
        A function as that of `offers`.

    >>> offers_list("csv", "coco-results")("csv,co")
    ['csv,coco-results']
    """

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in before.split(",")]

    return complete


def asks_for_completion(words: Sequence[str]) -> bool:
    """Whether a command line asks for the shell's completion itself.

    Args:
        words: after the program's name.

    Returns:
        True where it does.
    """
    return bool(words) and words[0] in (INSTALL, SHOW)


def no_such_shell() -> ResourceError:
    """What is said where the program was not started by a shell that is known."""
    return ResourceError("no completion for this shell", None, f"known: {SHELLS}", "Start the command in one of them")


def not_installed(error: OSError) -> OutputError:
    """What is said where the shell's own files cannot be written.

    Args:
        error: of the system.

    Returns:
        An error that says what to do instead.
    """
    todo = f"Put what stn-coloc {SHOW} prints into a file that your shell reads"
    return OutputError("cannot install the completion", error.filename, error.strerror, todo)
