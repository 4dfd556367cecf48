from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stn_cli.coloc import trainer
from stn_cli.coloc.config import TrainConfig
from stn_cli.errors import Interrupted, ResourceError
from stn_cli.runtime.stopping import StopRequest
from tests.conftest import QUICK, Trained


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
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert signal.getsignal(signal.SIGTERM) != before
        stop.check()
        stop.signum = 15
        with pytest.raises(Interrupted):
            stop.check()
    assert signal.getsignal(signal.SIGTERM) == before


def test_47_out_of_memory_in_training_says_what_to_lower(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("pretend")

    monkeypatch.setattr(trainer, "search", full)
    with pytest.raises(ResourceError, match="Lower --batch") as caught:
        trainer.train(trained.images, tmp_path / "run", TrainConfig(**QUICK))
    assert caught.value.exit_code == 7
