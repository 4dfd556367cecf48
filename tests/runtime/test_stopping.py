from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from stn_cli.coloc.train import agreement, finish, start
from stn_cli.coloc.train.run import train
from stn_cli.errors import Interrupted, ResourceError
from stn_cli.report import page
from stn_cli.runs.checkpoint import load_model
from stn_cli.runs.config import TrainConfig
from stn_cli.runtime.stopping import GRACE, StopRequest
from tests.conftest import QUICK, QUICK_FLAGS, Trained


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_42_43_a_second_signal_leaves_at_once(name: str, code: int) -> None:
    program = (
        "import os, signal, time\nfrom stn_cli.runtime.stopping import StopRequest\n"
        f"with StopRequest() as stop:\n  os.kill(os.getpid(), signal.{name}); print('noted', flush=True)\n"
        f"  os.kill(os.getpid(), signal.{name}); time.sleep(5); print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout == "noted\n"


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert signal.getsignal(signal.SIGTERM) != before
        stop.check()
        stop.signum = 15
        with pytest.raises(Interrupted):
            stop.check()
    assert signal.getsignal(signal.SIGTERM) == before


LOADED = ["typer", "numpy", "torch", "stn_cli.stn"]


@pytest.mark.parametrize("name", LOADED)
def test_ctrl_c_while_the_program_is_loaded_is_said(name: str, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom stn_cli.__main__ import main\nclass Pressed:\n  def find_spec(self, name, *_):\n"
        f"    if name == {name!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Pressed())\nmain()"
    )
    command = [sys.executable, "-c", program, "train", str(tmp_path), "-o", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: stopped (interrupted)\n")


def test_47_out_of_memory_in_training_says_what_to_lower(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("pretend")

    monkeypatch.setattr(start, "find_kinds", full)
    with pytest.raises(ResourceError, match="Lower --batch") as caught:
        train(trained.images, tmp_path / "run", TrainConfig(**QUICK))
    assert caught.value.exit_code == 7


# where a program waits, in a way that nobody looks at `check`, and what it prints when it ends
WAITING = [
    ("a queue that stays empty", "import queue; queue.Queue().get()"),
    ("a pipe in which nothing comes", "import sys; sys.stdin.buffer.read()"),
    (
        "a thread that works on",
        "import concurrent.futures as c; p = c.ThreadPoolExecutor(1); p.submit(time.sleep, 30).result()",
    ),
    ("a long loop", "exec('while True: pass')"),
    ("a sleep", "time.sleep(30)"),
]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("waiting", [row[1] for row in WAITING], ids=[row[0] for row in WAITING])
def test_the_first_signal_is_answered_wherever_the_program_is(waiting: str, number: int) -> None:
    program = (
        "import os, time\nfrom stn_cli.errors import Interrupted\nfrom stn_cli.runtime.stopping import StopRequest\n"
        f"try:\n  with StopRequest('go on') as stop:\n    print('ready', flush=True)\n    {waiting}\n"
        "except Interrupted as error:\n  print(error, flush=True); os._exit(error.exit_code)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.stdout.read(), process.stderr.read() if process.stderr else ""
    assert process.wait(timeout=20) == 128 + number, err
    assert "go on" in out
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


def test_what_must_not_be_cut_in_two_is_finished_first() -> None:
    done = []
    with pytest.raises(Interrupted), StopRequest() as stop:
        with stop.finishing():
            os.kill(os.getpid(), signal.SIGINT)
            end = time.monotonic() + GRACE + 0.5
            while time.monotonic() < end:
                time.sleep(0.01)
            done.append("step")
        done.append("never")
    assert done == ["step"]


def test_a_reminder_that_comes_too_late_does_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        while not stop.signum:
            time.sleep(0.001)
        stop.check()
    assert signal.getsignal(signal.SIGTERM) == before
    stop._remind(0, signal.SIGTERM)  # would end this process
    time.sleep(GRACE + 0.2)


@pytest.mark.parametrize("command", ["train", "localise"])
def test_a_stalled_pipe_of_names_is_left_at_the_first_signal(trained: Trained, tmp_path: Path, command: str) -> None:
    model = ["-m", str(trained.run)] if command == "localise" else []
    arguments = [sys.executable, "-m", "stn_cli", command, "-", *model, "-o", str(tmp_path / "o")]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(str(trained.images / "000.png") + "\n")
    process.stdin.flush()
    time.sleep(6)  # the imports are done
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert process.stderr is not None
    assert process.stderr.read().splitlines()[-1].startswith("error: stopped")
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()
    assert not (tmp_path / "o").exists()


# where a training is when the signal comes: the module, and a function in it that is made to hang there
STAGES = [(start, "find_kinds"), (agreement, "predict"), (finish, "calibrate")]


@pytest.mark.parametrize(("module", "name"), STAGES, ids=[row[1] for row in STAGES])
def test_every_stage_of_a_training_is_left_at_the_first_signal(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., tuple[int, str, str]],
    module: ModuleType, name: str,
) -> None:  # fmt: skip
    real = getattr(module, name)
    sent = []

    def hanging(*arguments: object, **options: object) -> object:
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))
            time.sleep(4)  # inside a step it is left when the step is done
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, hanging)
    code, _, err = cli("train", trained.images, "-o", tmp_path / "run", "-q", *QUICK_FLAGS)
    assert code == 130
    assert f"--resume -o {tmp_path / 'run'}" in err
    code, _, err = cli("train", "--resume", "-o", tmp_path / "run", "-q")
    assert code == 0, err
    first, second = (load_model(r)[0] for r in (trained.run, tmp_path / "run"))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_case_W_a_signal_while_the_report_is_written_is_said(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., tuple[int, str, str]]
) -> None:
    def hanging(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    monkeypatch.setattr(page, "write_report", hanging)
    code, _, err = cli("train", trained.images, "-o", tmp_path / "run", "-q", *QUICK_FLAGS)
    assert code == 130
    assert f"The run is whole; stn-coloc report {tmp_path / 'run'}" in err
    assert load_model(tmp_path / "run")
