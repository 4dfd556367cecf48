"""Where a figure comes from: every script writes its result file through `save`, which says so beside the figures.

A result file holds `runs` and, beside it, what was measured. Scripts may measure some rows and take the others from an earlier
run, so that each of the `runs` names its rows (none named: the whole file). `measures` are the files and folders whose code the
figures depend on: `python -m benchmarks.check` lists rows that are older than these. Of files from before there was this module
only what the history knows is told; what is not known is null.
"""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python", "av")

SAMPLER = ("stn_cli/stn", "stn_cli/geometry.py")
LEARNING = (*SAMPLER, "stn_cli/coloc", "stn_cli/encoders", "stn_cli/media", "stn_cli/runs")
TRACKING = (*LEARNING, "stn_cli/tracking", "stn_cli/jobs/track.py")
LOCALISING = (*LEARNING, "stn_cli/jobs/localise.py", "stn_cli/formats")
STARTING = ("stn_cli/__init__.py", "stn_cli/__main__.py", "stn_cli/cli")
REVIEWING = ("stn_cli/review", "stn_cli/jobs/review.py", "stn_cli/media")
WHOLE = ("stn_cli",)


def git(*words: str) -> str | None:
    """What git prints, None where there is no git or no repository."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def begin() -> None:
    """Say on which machine; and note now, and not at the end, which commit this process measures."""
    started = _started()
    print(told({**started, "machine": {**started["machine"], "gpu": gpu()}}), flush=True)


def told(run: dict[str, Any]) -> str:
    """The machine of one of a file's `runs`, as a line for people; what is not known is left out."""
    m, python = run["machine"], run["versions"]["python"]
    parts = (m["gpu"], m["cpu"], m["cores"] and f"{m['cores']} cores", m["system"], python and f"Python {python}")
    return ", ".join(part for part in parts if part)


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu() -> str | None:
    """The GPU's name, where torch is there and has one."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None


def version(package: str) -> str | None:
    """Of an installed package; None where it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def command_line() -> str:
    """How this process was started, without the folders of this machine."""
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(ROOT).as_posix() if script.is_relative_to(ROOT) else script.name
    if getattr(sys.modules["__main__"], "__spec__", None) is not None:
        name = f"-m {name.removesuffix('.py').removesuffix('/__main__').replace('/', '.')}"
    return " ".join(["python", name, *(Path(a).name if Path(a).is_absolute() else a for a in sys.argv[1:])])


@functools.cache
def _started() -> dict[str, Any]:
    """What is the same for all that this process writes, seen when it is first asked for."""
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":(exclude)benchmarks/results", ":(exclude)docs")
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return {
        "provenance": "written by the run",
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "dirty": None if changed is None else bool(changed),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command_line(),
        "machine": {
            "cpu": cpu(),
            "cores": cores(),
            "threads": int(threads) if threads.isdecimal() else cores(),
            "gpu": gpu(),
            "system": platform.system(),
            "load": load,
        },
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
    }


def run_record(
    measures: Sequence[str],
    *,
    rows: Iterable[str] = (),
    seeds: Sequence[int] = (0,),
    versions: dict[str, str | None] | None = None,
) -> dict[str, Any]:
    """This process's entry in `runs`.

    Args:
        measures: files and folders of the package whose code the figures depend on; one of the tuples above.
        rows: of the file that it measured; none for the whole file.
        seeds: of what was random.
        versions: of further libraries that matter.

    Returns:
        Commit (and `code`, the last one that changed what is measured), date, command, machine, versions.
    """
    first = _started()
    code = git("log", "-1", "--format=%h", "--abbrev=12", "--", *measures)
    known = {**first, "versions": {**first["versions"], **(versions or {})}}
    return {"rows": list(rows), **known, "code": code or None, "seeds": list(seeds), "measures": list(measures)}


def merged(before: list[dict[str, Any]], now: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of a file once `now` is among them: rows that it measured are no longer an earlier run's."""
    kept = []
    for run in before:
        if not now["rows"] or (run["date"], run["command"]) == (now["date"], now["command"]):
            continue
        rows = [r for r in run["rows"] if r not in now["rows"]]
        if rows or not run["rows"]:
            kept.append({**run, "rows": rows})
    return [*kept, now]


def save(
    name: str,
    result: dict[str, Any],
    measures: Sequence[str],
    *,
    rows: Iterable[str] = (),
    seeds: Sequence[int] = (0,),
    versions: dict[str, str | None] | None = None,
    out: Path | None = None,
) -> None:
    """Write results/NAME.json (or `out`): what was measured, and where it comes from; the rest as `run_record` has it."""
    path = out or RESULTS / f"{name}.json"
    before = json.loads(path.read_text("utf-8")).get("runs", []) if path.is_file() else []
    runs = merged(before, run_record(measures, rows=rows, seeds=seeds, versions=versions))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"runs": runs, **result}, indent=1) + "\n", "utf-8")


def earlier(name: str, key: str = "sets") -> dict[str, Any]:
    """The rows that an earlier run of a benchmark measured."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text("utf-8"))[key]) if path.is_file() else {}
