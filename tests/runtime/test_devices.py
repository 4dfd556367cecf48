"""What some devices cannot do: no float64 on Apple's, no memory without end anywhere."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import stn_cli
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search import discriminant as linear
from stn_cli.coloc.search import square_windows, statistics, windows
from stn_cli.coloc.search.discriminant import Projection
from stn_cli.coloc.search.rigid import apply_rigid, search_rigid
from stn_cli.coloc.train.run import train
from stn_cli.encoders import GradientEncoder, PretrainedEncoder, pretrained
from stn_cli.errors import ResourceError, out_of_memory
from stn_cli.runs.config import TrainConfig
from stn_cli.runtime import device, memory
from stn_cli.runtime.device import in_double, pick_device
from tests.coloc.search.test_search import planted_glyphs
from tests.conftest import QUICK, make_folder


class NoDouble(TorchDispatchMode):
    """Stands in for a device without float64: any operation that gives one fails, unless it is done where the CPU does it."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self.allowed:
            assert not any(isinstance(t, torch.Tensor) and t.dtype == torch.float64 for t in tree_leaves(out)), func
        return out


@pytest.mark.parametrize(
    "settings",
    [
        {"search": "deformable"},  # dense features: principal components, Otsu, windows between the cells
        {"encoder": "gradient", "transform": "affine", "size": (0.3, 0.4)},  # words, and crops that turn
    ],
)
def test_a_training_makes_no_float64_but_where_the_cpu_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    from stn_cli.coloc.score import object_search
    from stn_cli.coloc.train import finish

    mode = NoDouble()

    def allowing(real: Any) -> Any:
        @functools.wraps(real)
        def call(*arguments: Any, **named: Any) -> Any:
            mode.allowed += 1
            try:
                return real(*arguments, **named)
            finally:
                mode.allowed -= 1

        return call

    for module in (windows, statistics, linear):
        monkeypatch.setattr(module, "in_double", allowing(in_double))
    monkeypatch.setattr(finish, "calibrate", allowing(finish.calibrate))  # on the CPU: the next test
    monkeypatch.setattr(object_search, "tightened", allowing(object_search.tightened))  # masks are made by numpy and OpenCV
    make_folder(tmp_path, 10)
    with mode:
        train(tmp_path / "images", tmp_path / "run", TrainConfig(**{**QUICK, "steps": 3, "finetune": 2}, **settings))


def test_tensors_reach_the_cpu_before_they_become_float64() -> None:
    """In what works on a device: `.double()` only in `in_double` or right behind `.cpu()`."""
    root = Path(stn_cli.__file__).parent
    for path in sorted(p for room in ("coloc", "encoders", "runtime", "stn", "tracking") for p in (root / room).rglob("*.py")):
        if path.name == "device.py":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for match in re.finditer(r"\.double\(\)", line):
                before = line[: match.start()]
                made = before.rstrip().endswith(".cpu()") or "torch.full(" in before  # a plain tensor is made on the CPU
                assert made, f"{path.name}:{number}: {line.strip()}"


def test_in_double_is_on_the_cpu_where_a_device_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def add(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.append((a.dtype, b.dtype, a.device.type))
        return a + b

    x, n = torch.tensor([1.5]), torch.tensor([2])
    for without in ((), ("cpu",)):
        monkeypatch.setattr(device, "WITHOUT_DOUBLE", without)
        out = in_double(add, x, n)
        assert out.dtype == torch.float32
        assert float(out) == 3.5
    assert seen == [(torch.float64, torch.int64, "cpu")] * 2


def test_auto_takes_no_device_that_nobody_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto").type == "cpu"
    assert pick_device("mps").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ResourceError):
        pick_device("mps")


def test_components_have_a_sign_when_their_sum_is_nought() -> None:
    """The sign of nought is nought: such a component vanished."""
    cells = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [2.0, -2.0], [-2.0, 2.0]])
    basis = Projection.of(cells, 0.0, 1).basis
    torch.testing.assert_close(basis.square().sum(), torch.tensor(1.0))


@pytest.mark.parametrize("at_once", [1, 3 * 192 * 400 * 4, 10**9])
def test_windows_that_do_not_fit_are_made_some_at_a_time(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """The same prototype from parts as from all at once; only what fits is kept."""
    cache, _ = planted_glyphs(10)
    scene = Scene.of(cache, torch.arange(10), torch.device("cpu"))
    whole = search_rigid(GradientEncoder(), scene.images, scene.rectangles, seed=0, sides=(0.3, 0.36))
    monkeypatch.setattr(memory, "BYTES_AT_ONCE", at_once)
    sizes = []
    real = square_windows.SquareWindows._embed
    monkeypatch.setattr(
        square_windows.SquareWindows, "_embed", lambda self, part: (sizes.append(part.stop - part.start), real(self, part))[1]
    )
    parts = search_rigid(GradientEncoder(), scene.images, scene.rectangles, seed=0, sides=(0.3, 0.36))
    assert whole is not None
    assert parts is not None
    assert parts.loss == pytest.approx(whole.loss, rel=1e-3)
    torch.testing.assert_close(parts.prototype, whole.prototype, rtol=1e-3, atol=1e-4)
    a, b = (apply_rigid(t, GradientEncoder(), scene.images, scene.rectangles)[0] for t in (whole, parts))
    torch.testing.assert_close(a, b)
    assert max(sizes) == (1 if at_once == 1 else 10 if at_once == 10**9 else max(sizes))
    assert (max(sizes) < 10) == (at_once < 10**9)


def test_cells_that_do_not_fit_are_projected_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    cells = torch.randn(12, 20, 4, 4) * torch.linspace(3, 0.5, 20).view(-1, 1, 1)
    every = cells.movedim(1, -1).flatten(0, 2)
    whole = Projection.of(every, 0.5, 6)
    monkeypatch.setattr(memory, "BYTES_AT_ONCE", 20 * 4 * 50)
    parts = Projection.of(every, 0.5, 6)
    torch.testing.assert_close(parts.basis, whole.basis, rtol=1e-3, atol=1e-4)
    monkeypatch.setattr(memory, "BYTES_AT_ONCE", 20 * 16 * 4 * 5)
    torch.testing.assert_close(parts(cells), whole(cells), rtol=1e-3, atol=1e-3)


def test_a_published_network_reads_as_many_pictures_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = PretrainedEncoder("resnet18", pretrained=False)
    read = []
    encoder.network.register_forward_pre_hook(lambda _m, given: read.append(len(given[0])))
    images = torch.rand(5, 3, 64, 64)
    with torch.no_grad():
        whole = encoder.maps(images)
        monkeypatch.setattr(pretrained, "PIXELS_AT_ONCE", 2 * 64 * 64)
        torch.testing.assert_close(encoder.maps(images), whole, rtol=1e-3, atol=1e-4)
    assert read == [5, 2, 2, 1]


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),  # Python and numpy
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),  # Windows
        (cv2.error("OpenCV(4.10) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 8 bytes"), True),
        (OSError(12, "Cannot allocate memory"), True),  # a thread or a process cannot be started
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("memory"), False),
        (ResourceError("out of memory"), False),  # said already
    ],
)  # fmt: skip
def test_who_says_out_of_memory(error: Exception, full: bool) -> None:
    assert out_of_memory(error) == full
