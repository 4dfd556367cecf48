"""One tree of errors; each knows the exit code that the command ends with."""

from __future__ import annotations

import re
from contextlib import suppress


class ColocError(Exception):
    """An error that a user can act on.

    Args:
        what: what went wrong, in a few words.
        subject: the file, value or flag it went wrong with; printed in quotes, control characters escaped.
        why: the reason, printed in parentheses.
        todo: what to do about it, one sentence.
    """

    exit_code = 1

    def __init__(self, what: str, subject: object = None, why: object = None, todo: str = "") -> None:
        self.what, self.subject, self.why, self.todo = what, subject, why, todo
        super().__init__(self.line())

    def line(self) -> str:
        """The whole message on one line: `WHAT: 'subject' (WHY). WHAT TO DO`."""
        text = printable(self.what)
        if self.subject is not None:
            text += f": '{printable(str(self.subject))}'"
        if self.why is not None:
            text += f" ({printable(str(self.why))})"
        if self.todo:
            text += f". {printable(self.todo)}"
        return text


class UsageError(ColocError):
    """A flag or an argument that cannot be used as given."""

    exit_code = 2


class InputError(ColocError):
    """Input that cannot be used: no images, a broken truth file."""

    exit_code = 3


class OutputError(ColocError):
    """Output that cannot be written."""

    exit_code = 4


class CheckpointError(ColocError):
    """A run, model or training state that is missing, damaged or of another kind."""

    exit_code = 5


class DivergedError(ColocError):
    """Training met a loss or a gradient that is not finite."""

    exit_code = 6


class ResourceError(ColocError):
    """A device, memory or weights that this machine does not have."""

    exit_code = 7


class Interrupted(ColocError):
    """A signal asked the run to stop; what was done so far has been saved."""

    def __init__(self, signum: int, todo: str = "") -> None:
        self.exit_code = 128 + signum
        super().__init__("stopped", why="interrupted" if signum == 2 else "terminated", todo=todo)
        self._given = (signum, todo)

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int, str]]:
        """What another process makes it from: its text alone says no signal."""
        return type(self), self._given


FULL = (
    "out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "insufficient memory",
    "could not execute a primitive",
)  # fmt: skip
"""How torch, OpenCV, oneDNN and the system say that memory ran out, in lower case."""
UNMAPPED = re.compile(r"failed to map segment from shared object(?!: operation not permitted)")
"""How the loader says that memory for a library ran out, in lower case; `not permitted` means that its file system allows no programs."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of any library means that memory was used up, the machine's or a device's.

    Torch raises a plain RuntimeError where the CPU's allocator fails, OpenCV an error of its own.

    Args:
        error: of any library.

    Returns:
        True where memory ran out.
    """
    if isinstance(error, ColocError):
        return False
    named = (
        isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    )  # torch's, which must not be imported here
    said = str(error).lower()
    return named or any(words in said for words in FULL) or UNMAPPED.search(said) is not None


def counted(number: int, what: str) -> str:
    """A number of things: `1 image`, `2 images`, `2 boxes`.

    Args:
        number: how many.
        what: one of them, in the singular.

    Returns:
        The number and the noun, in the plural where it is not 1.
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}{'es' if what.endswith('x') else 's'}"


def printable(text: str) -> str:
    r"""Escape what must not reach a terminal or a JSON file raw.

    Control characters (ESC, newline) become `\xNN`; bytes that were not UTF-8 (surrogates of
    `os.fsdecode`) become percent escapes.

    Args:
        text: any, also from a stranger.

    Returns:
        Text that is safe to print.
    """
    if text.isprintable():
        return text
    with suppress(UnicodeEncodeError):  # where the system's encoding is ASCII, names of UTF-8 come as bytes too
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    out = []
    for char in text:
        code = ord(char)
        if 0xDC80 <= code <= 0xDCFF:
            out.append(f"%{code - 0xDC00:02X}")
        elif char.isprintable():
            out.append(char)
        elif 0xD800 <= code <= 0xDFFF:
            out.append("\ufffd")
        else:
            out.append(char.encode("unicode_escape").decode("ascii"))
    return "".join(out)
