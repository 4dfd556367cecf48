"""Memory that is used up ends every command with 7 and what to do, whichever library says so."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stn_cli.errors import out_of_memory
from tests.conftest import Trained

TORCH = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
)

LOADER = ImportError("libtorch_cpu.so: failed to map segment from shared object")


@pytest.mark.parametrize("error", [TORCH, MemoryError(), LOADER], ids=["torch", "python", "loader"])
@pytest.mark.parametrize(
    ("command", "where"),
    [
        (("train", "IMAGES", "-o", "OUT"), "stn_cli.coloc.train.start.find_kinds"),
        (("localise", "IMAGES", "-m", "RUN", "-o", "OUT"), "stn_cli.coloc.model.localiser.Localiser.look"),
        (
            ("localise", "IMAGES", "-m", "RUN", "-o", "OUT"),
            "stn_cli.coloc.model.localiser.load_letterbox",
        ),  # in a decoding thread
        (("report", "RUN"), "stn_cli.report.page.write_report"),
        (("pretrain", "IMAGES", "-o", "OUT"), "stn_cli.pretrain.folder.pretrain_folder"),
        (("track", "IMAGES", "-m", "RUN", "-o", "OUT"), "stn_cli.jobs.track.track_source"),
        (("evaluate", "TRUTH", "TRUTH"), "stn_cli.evaluate.read_truth"),
    ],
)
def test_out_of_memory_ends_with_7(
    trained: Trained, tmp_path: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...], where: str, error: Exception,
) -> None:  # fmt: skip
    def full(*_: object, **__: object) -> None:
        raise error

    owner, name = where.rsplit(".", 1)
    try:
        target: object = importlib.import_module(owner)
    except ModuleNotFoundError:
        module, inner = owner.rsplit(".", 1)
        target = getattr(importlib.import_module(module), inner)
    monkeypatch.setattr(target, name, full)
    places = {"IMAGES": trained.images, "RUN": trained.run, "OUT": tmp_path / "out", "TRUTH": trained.folder / "boxes.json"}
    code, _, err = cli(*(places.get(part, part) for part in command))
    assert code == 7
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: out of memory. ")
    assert "bug" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_libraries_that_do_not_fit_into_the_memory_end_with_7(tmp_path: Path) -> None:
    """As `ulimit -v` makes it: torch is not loaded at all."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1_200_000_000,) * 2);"
        "from stn_cli.cli.app import main; main()"
    )
    command = [sys.executable, "-c", program, "train", str(tmp_path), "-o", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 7
    assert done.stderr == "error: out of memory: 'ulimit -v 1171875' (a limit is set). Raise it, or lower --batch or --imgsz\n"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_a_limit_that_leaves_no_room_beside_the_libraries_ends_with_7(trained: Trained, tmp_path: Path) -> None:
    """Torch's threads end the process with 134 where it meets such a limit in the middle of its work."""
    program = (
        "import resource, sys; import stn_cli.coloc.train.run; from stn_cli.runtime import room\n"
        "limit = room._taken() + room.LEAST // 2\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); from stn_cli.__main__ import main; main()"
    )
    command = [sys.executable, "-c", program, "train", str(trained.images), "-o", str(tmp_path / "run"), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 7, done.stderr
    said = r"error: the limit on memory is too small: 'ulimit -v \d+' \(the libraries take \d+ of it\). Set it to unlimited, or to \d+ .*\n"
    assert re.fullmatch(said, done.stderr)
    assert not (tmp_path / "run").exists()


def test_a_thread_that_cannot_be_started_ends_with_7(
    tmp_path: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("stn_cli.coloc.train.run.train", refuses)
    code, _, err = cli("train", tmp_path, "-o", tmp_path / "run")
    assert code == 7
    assert err.startswith("error: the system gives no more threads. Lower --workers, ")


def test_a_library_that_may_not_be_run_is_not_out_of_memory() -> None:
    """On a file system that is mounted without the right to run programs."""
    assert not out_of_memory(ImportError("x.so: failed to map segment from shared object: Operation not permitted"))
