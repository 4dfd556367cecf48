"""Room for memory where a limit is set for the process (`ulimit -v`, batch systems): libraries end the process where it does not suffice."""

from __future__ import annotations

import sys
from pathlib import Path

from stn_cli.errors import ResourceError

LEAST = 512 << 20
"""Bytes beside the libraries: a small `localise` took .45 GB of addresses, a small training .66, one with default settings 1.15."""
WANTED = 2 << 30
"""Bytes beside the libraries that are advised."""


def address_limit() -> int | None:
    """Bytes of addresses that this process may have; None where there is no limit.

    Returns:
        Bytes, or None.
    """
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def check_room() -> None:
    """See that the libraries, which are loaded by now, leave room to work in.

    Raises:
        ResourceError: they do not.
    """
    limit, taken = address_limit(), _taken()
    if limit is None or taken is None or limit - taken >= LEAST:
        return
    raise ResourceError(
        "the limit on memory is too small",
        f"ulimit -v {limit >> 10}",
        f"the libraries take {taken >> 10} of it",
        f"Set it to unlimited, or to {(taken + WANTED) >> 10} and more",
    )


def _taken() -> int | None:
    """Bytes of addresses that this process has; None where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmSize:"))
    except (OSError, StopIteration):
        return None
