"""A run folder from a stranger, or one that was damaged: every file of it holds garbage in turn, and nothing but one line is the answer."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import signal
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stn_cli.coloc.train.run import train
from stn_cli.errors import CheckpointError, ColocError, Interrupted
from stn_cli.outputs.manifest import STAGING
from stn_cli.reading import read_plain
from stn_cli.report.page import write_report
from stn_cli.runs import checkpoint
from stn_cli.runs.folder import read_images, read_skipped
from stn_cli.runs.metrics import read_metrics
from tests.conftest import QUICK, Trained
from tests.faults.test_options import SECONDS, judge, no_longer_than

Call = Callable[..., tuple[int, str, str]]
RIGHT = (0, 3, 5)


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A run of 3 images, to be spoilt."""
    shutil.copytree(trained.run, tmp_path / "run")
    names = sorted(trained.images.iterdir())[:3]
    lines = [f"# relative to {trained.images}/", *map(str, names)]
    (tmp_path / "run" / "images.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "run"


def call_on(cli: Call, command: str, run: Path, out: Path) -> tuple[int, str, str]:
    """`localise`, `report` or `train --resume` of a run."""
    calls = {
        "localise": ["localise", "-m", str(run), "-o", str(out), "-q"],
        "report": ["report", str(run), "-o", str(out / "page.html"), "-q"],
        "resume": ["train", "--resume", "-o", str(run), "-q", "--no-report"],
    }
    out.mkdir(exist_ok=True)
    with no_longer_than(SECONDS):
        code, said, err = cli(*calls[command])
    assert not judge(code, said, err, calls[command])
    return code, said, err


# ---- lists of images


def listed(*lines: bytes, header: bytes = b"# relative to /pictures/") -> bytes:
    return b"\n".join([header, *lines]) + b"\n"


LISTS = [
    # what is wrong, the file, what is said of it
    ("nothing", b"", "names no folder"),
    ("no header", b"/pictures/a.png\n", "names no folder"),
    ("a header without a folder", listed(b"/etc/passwd", header=b"# relative to "), "names no folder"),
    ("a relative folder", listed(b"pictures/a.png", header=b"# relative to pictures/"), "names no folder"),
    ("a relative name", listed(b"a.png"), "line 2"),
    ("outside", listed(b"/pictures/a.png", b"/etc/passwd"), "line 3"),
    ("a way up", listed(b"/pictures/../etc/passwd"), "line 2"),
    ("a way up, escaped", listed(b"/pictures/%2E%2E/etc/passwd"), "line 2"),
    ("a root twice", listed(b"/pictures//etc/passwd"), "line 2"),
    ("the folder itself", listed(b"/pictures/"), "line 2"),
    ("here", listed(b"/pictures/./a.png"), "line 2"),
    ("a NUL", listed(b"/pictures/a\0.png"), "line 2"),
    ("a NUL, escaped", listed(b"/pictures/a%00.png"), "line 2"),
    ("a damaged escape", listed(b"/pictures/a%2.png"), "line 2"),
    ("an escape of no number", listed(b"/pictures/%zz.png"), "line 2"),
    ("an empty line", listed(b"/pictures/a.png", b"", b"/pictures/b.png"), "line 3"),
    ("bytes", bytes(range(256)) * 4, "names no folder"),
]


@pytest.mark.parametrize(("data", "said"), [row[1:] for row in LISTS], ids=[row[0] for row in LISTS])
def test_a_list_of_images_that_leads_elsewhere(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "images.txt").write_bytes(data)
    with pytest.raises(CheckpointError, match=said):
        read_images(tmp_path)


@pytest.mark.parametrize("command", ["localise", "report", "resume"])
def test_no_command_takes_names_that_lead_elsewhere(cli: Call, run: Path, tmp_path: Path, command: str) -> None:
    (run / "images.txt").write_bytes(listed(b"/pictures/../../../tmp/x.png"))
    assert call_on(cli, command, run, tmp_path / "out")[0] == 5


# ---- skipped.jsonl and metrics.jsonl

LINES = [
    b"[]",
    b"3",
    b"null",
    b'"text"',
    b"{",
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b"{}",
    b'{"a": ' + b"9" * 5000 + b"}",
    b"NaN",
    b"\0",
]
ROWS = [
    b'{"file": 3, "reason": []}',
    b'{"file": "a"}',
    b'{"file": "\\ud800", "reason": "\\u001b[31m"}',
    b'{"file": null, "reason": null}',
]
RECORDS = [
    b'{"stage": 3}', b'{"stage": []}', b'{"stage": "regression", "step": "one", "loss": 1}',
    b'{"stage": "regression", "step": 1, "loss": "low"}', b'{"stage": "regression", "step": 1, "loss": {}}',
    b'{"stage": "regression", "step": 1e400, "loss": 1}', b'{"stage": "regression", "step": true, "loss": 1}',
    b'{"stage": "regression", "step": 1, "loss": NaN}', b'{"stage": "regression", "object": "first", "step": 1, "loss": 1}',
    b'{"stage": "search", "side": 1e300, "loss": 1e300}', b'{"stage": "finetune", "object": null, "level": {}, "step": 1, "loss": 1}',
]  # fmt: skip


@pytest.mark.parametrize("command", ["report", "resume"])
def test_garbage_among_skipped_files_and_in_the_log(cli: Call, run: Path, tmp_path: Path, command: str) -> None:
    with open(run / "skipped.jsonl", "ab") as file:
        file.write(b"\n".join([*LINES, *ROWS]) + b'\n{"file": "kept.png", "reason": "empty"}\n')
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b"\n".join([*LINES, *RECORDS]) + b"\n")
    assert [row.file for row in read_skipped(run)][-2:] == ["\ud800", "kept.png"]
    code, _, _ = call_on(cli, command, run, tmp_path / "out")
    assert code in ((0,) if command == "report" else (0, 5))  # of other images than the state's it does not go on
    if command == "report":
        assert "kept.png" in (tmp_path / "out/page.html").read_text()


def test_every_line_of_garbage_by_itself(tmp_path: Path) -> None:
    for line in [*LINES, *ROWS, *RECORDS]:
        (tmp_path / "skipped.jsonl").write_bytes(line + b"\n")
        (tmp_path / "metrics.jsonl").write_bytes(line + b"\n" + b'{"stage": "regression", "step": 7, "loss": 0.5}\n')
        assert all(isinstance(row.file, str) for row in read_skipped(tmp_path))
        assert list(read_metrics(tmp_path / "metrics.jsonl"))[-1]["step"] == 7


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
@pytest.mark.parametrize(
    "name", ["skipped.jsonl", "metrics.jsonl", "images.txt", "config.toml", "model.safetensors", "state.pt"]
)
@pytest.mark.parametrize("thing", ["folder", "pipe", "device", "sparse", "loop"])
def test_something_else_in_the_place_of_a_file(cli: Call, run: Path, tmp_path: Path, name: str, thing: str) -> None:
    path = run / name
    path.unlink()
    if thing == "folder":
        path.mkdir()
    elif thing == "pipe":
        os.mkfifo(path)
    elif thing == "device":
        path.symlink_to("/dev/zero")
    elif thing == "sparse":
        path.touch()
        os.truncate(path, 50 << 30)
    else:
        path.symlink_to(path)
    needed = {
        "localise": ("images.txt", "model.safetensors"),
        "report": ("images.txt", "model.safetensors", "config.toml"),
        "resume": ("images.txt", "state.pt", "config.toml"),
    }
    for command, names in needed.items():
        if name in names or command != "localise":
            code, _, err = call_on(cli, command, run, tmp_path / command)
            assert code == (5 if name in names or command == "resume" else 0), err  # a run of other images does not go on


# ---- model.safetensors: right checksums, absurd content


def facts_with(**changes: Any) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], None]:
    return lambda facts, _: facts.update(changes)


def kind_with(**changes: Any) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], None]:
    return lambda facts, _: facts["kinds"][0].update(changes)


def without(name: str) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], None]:
    return lambda facts, _: facts.pop(name)


def tensor_as(
    change: Callable[[torch.Tensor], torch.Tensor], part: str = "finder"
) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], None]:
    def spoil(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        name = next(
            n for n in sorted(tensors) if f".{part}." in n and tensors[n].is_floating_point() and tensors[n].numel() > 0
        )
        tensors[name] = change(tensors[name])

    return spoil


def without_first_tensor(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    del tensors[min(tensors)]


def every_tensor_zero(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    for name in tensors:
        tensors[name] = torch.zeros_like(tensors[name])


ABSURD = [
    ("letterbox below zero", facts_with(letterbox=-5)),
    ("letterbox of a thousand million", facts_with(letterbox=10**9)),
    ("letterbox of no number", facts_with(letterbox="128")),
    ("letterbox true", facts_with(letterbox=True)),
    ("no letterbox", without("letterbox")),
    ("no levels", facts_with(cascade=0)),
    ("a thousand levels", facts_with(cascade=1000)),
    ("levels that are text", facts_with(cascade="1")),
    ("no kinds", facts_with(kinds=[])),
    ("kinds that are none", facts_with(kinds=None)),
    ("kinds that are numbers", facts_with(kinds=[1])),
    ("a million kinds", lambda facts, _: facts.update(kinds=facts["kinds"] * 1_000_000)),
    ("less than no object in each image", kind_with(objects=-1)),
    ("a thousand million objects", kind_with(objects=10**9)),
    ("a kind of another name", kind_with(kind="cubist")),
    ("a kind of a list", kind_with(kind=[])),
    ("a scorer without dimensions", kind_with(scorer=[])),
    ("a scorer of text", kind_with(scorer=["a", "b", "c", "d"])),
    ("a scorer below zero", kind_with(scorer=[-1, 1, 1, 1])),
    ("a scorer larger than memory", kind_with(scorer=[10**6, 1, 10**6, 10**6])),
    ("a rigid scorer larger than memory", kind_with(kind="rigid", scorer=[10**13])),
    ("visual words larger than memory", kind_with(kind="words", scorer=[10**6, 10**7])),
    ("options of a list", kind_with(options=[])),
    ("unknown options", kind_with(options={"control": 10**6})),
    ("a scale of nothing", kind_with(options={"scale": 0.0})),
    ("a scale of no number", kind_with(options={"scale": float("nan")})),
    ("an unknown transform", facts_with(transform="bow")),
    ("a transform of volumes", facts_with(transform="affine3d")),
    ("a transform that is a list", facts_with(transform=["box"])),
    ("an encoder that is a path", facts_with(encoder="/")),
    ("an encoder that is a number", facts_with(encoder=3)),
    ("an encoder of gigabytes", facts_with(encoder="vit_h_14")),
    ("a layer of a list", facts_with(layer=[])),
    ("another transform", facts_with(transform="affine")),
    ("agreement that is text", facts_with(agreement="much")),
    ("warnings that are text", facts_with(warnings="none")),
    ("warnings with half a character", facts_with(warnings=["\ud800"])),
    ("a version that is a number", facts_with(version=1)),
    ("a version with half a character", facts_with(version="\ud800")),
    ("weights that are no numbers", tensor_as(lambda t: torch.full_like(t, float("nan")))),
    ("weights without end", tensor_as(lambda t: torch.full_like(t, float("inf")))),
    ("weights that overflow", tensor_as(lambda t: torch.full_like(t, 3e38), "scorer")),
    ("scores that are no numbers", tensor_as(lambda t: torch.full_like(t, float("nan")), "calibration")),
    ("whole numbers for weights", tensor_as(lambda t: t.to(torch.int64))),
    ("complex weights", tensor_as(lambda t: t.to(torch.complex64))),
    ("weights of another shape", tensor_as(lambda t: t[None])),
    ("empty weights", tensor_as(lambda t: t.new_zeros(0))),
    ("a tensor is missing", without_first_tensor),
    ("all weights nothing", every_tensor_zero),
]


@pytest.fixture(scope="module")
def good_model(trained: Trained) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    return checkpoint.load_model(trained.run)


@pytest.mark.parametrize("spoil", [row[1] for row in ABSURD], ids=[row[0] for row in ABSURD])
def test_a_model_with_right_checksums_and_absurd_content(
    cli: Call,
    good_model: tuple[dict[str, torch.Tensor], dict[str, Any]],
    tmp_path: Path,
    spoil: Callable[[dict[str, Any], dict[str, torch.Tensor]], None],
) -> None:
    tensors, facts = dict(good_model[0]), copy.deepcopy(good_model[1])
    spoil(facts, tensors)
    (tmp_path / "run").mkdir()
    checkpoint.save_model(tmp_path / "run", tensors, facts)
    code, _, err = call_on(cli, "localise", tmp_path / "run", tmp_path / "out")
    assert code == 5, err
    assert "model" in err


def test_facts_that_are_no_table(tmp_path: Path) -> None:
    from stn_cli.runs.container import Damaged, pack, unpack

    for facts in ([], 3, None, "text"):
        with pytest.raises(Damaged):
            unpack(pack({"a": torch.zeros(1)}, facts))  # type: ignore[arg-type]


# ---- state.pt: right checksums, absurd content


class _Stop:
    """A reporter that interrupts a training after some steps of a stage."""

    def __init__(self, stage: str, after: int) -> None:
        self.wanted, self.after, self.now = stage, after, ""

    def stage(self, name: str, total: int | None) -> None:
        self.now = name

    def advance(self, count: int = 1, note: str = "") -> None:
        if self.now == self.wanted and count == 1:
            self.after -= 1
            if self.after == 0:
                signal.raise_signal(signal.SIGINT)

    def warn(self, text: str) -> None:
        pass


@pytest.fixture(scope="module")
def unfinished(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was stopped while it was fine-tuning: all that a state can hold is in its state."""
    from stn_cli.runs.config import TrainConfig

    run = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        train(trained.images, run, TrainConfig(**QUICK), reporter=_Stop("fine-tuning", 2))
    return run


def state_of(run: Path) -> Path:
    """Where a stopped training's state lies."""
    return next(place for place in (run / STAGING, run) if (place / checkpoint.STATE).is_file())


@pytest.mark.parametrize("command", ["localise", "report"])
def test_case_W_an_unfinished_run_says_how_to_go_on(cli: Call, unfinished: Path, tmp_path: Path, command: str) -> None:
    code, _, err = call_on(cli, command, unfinished, tmp_path / "out")
    assert code == 5
    assert "unfinished run" in err
    assert f"Go on with stn-coloc train --resume -o {unfinished}" in err
    (tmp_path / "nothing").mkdir()
    code, _, err = call_on(cli, command, tmp_path / "nothing", tmp_path / "out")
    assert code == 5
    assert "no trained model" in err
    assert "Train one with stn-coloc train" in err


def state_with(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state.update(changes)


def progress_with(**changes: Any) -> Callable[[dict[str, Any]], None]:
    places = {"stage": 0, "number": 1, "level": 2, "step": 3, "best": 4, "stale": 5, "warnings": 6}

    def spoil(state: dict[str, Any]) -> None:
        for name, value in changes.items():
            state["progress"][places[name]] = value

    return spoil


def kinds_with(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["kinds"][0].update(changes)


def place_as(index: int, change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def spoil(state: dict[str, Any]) -> None:
        state["kinds"][0]["places"][index] = change(state["kinds"][0]["places"][index])

    return spoil


def group_with(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["optimiser"]["param_groups"][0].update(changes)


def first_of(part: str, change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def spoil(state: dict[str, Any]) -> None:
        tensors = state["kinds"][0][part]
        name = next(n for n, t in tensors.items() if t.is_floating_point() and t.numel() > 1)
        tensors[name] = change(tensors[name])

    return spoil


def moment_as(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def spoil(state: dict[str, Any]) -> None:
        state["optimiser"]["state"][0]["exp_avg"] = change(state["optimiser"]["state"][0]["exp_avg"])

    return spoil


STATES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("nothing", lambda state: state.clear()),
    ("names are missing", lambda state: state.pop("names")),
    ("names are a number", state_with(names=3)),
    ("progress is missing", lambda state: state.pop("progress")),
    ("progress of a wrong length", state_with(progress=["search"])),
    ("progress that is text", state_with(progress="search!")),
    ("an unknown stage", progress_with(stage="lunch")),
    ("a stage that is a list", progress_with(stage=[])),
    ("a step below zero", progress_with(step=-1)),
    ("a step beyond the end", progress_with(step=10**12)),
    ("a step that is text", progress_with(step="1")),
    ("a level beyond the last", progress_with(level=7)),
    ("a kind beyond the last", progress_with(number=7)),
    ("warnings that are numbers", progress_with(warnings=[1])),
    ("no kinds after the search", lambda state: state.pop("kinds")),
    ("no kinds in a list", state_with(kinds=[])),
    ("kinds that are numbers", state_with(kinds=[1])),
    ("kinds while searching", progress_with(stage="search")),
    ("a kind of another name", kinds_with(kind="cubist")),
    ("a scorer larger than memory", kinds_with(dimensions=[10**6, 1, 10**6, 10**6])),
    ("a scorer of nothing", kinds_with(scorer={})),
    ("a scorer of text", kinds_with(scorer={"a": "b"})),
    ("no finder", lambda state: state["kinds"][0].pop("finder")),
    ("a finder of nothing", kinds_with(finder={})),
    ("places of text", kinds_with(places="here")),
    ("two places of three", kinds_with(places=[torch.zeros(1)] * 2)),
    ("places of fewer images", place_as(0, lambda t: t[:1])),
    ("places of many objects", place_as(0, lambda t: t.repeat(1, 100, 1))),
    ("places that are no numbers", place_as(0, lambda t: torch.full_like(t, float("nan")))),
    ("angles of another shape", place_as(1, lambda t: t[..., None])),
    ("presence that is a number", place_as(2, lambda t: t.float())),
    ("a choice of text", kinds_with(choice=["a", "b", "c"])),
    ("a curve of text", kinds_with(curve="up")),
    ("options of a list", kinds_with(options=[])),
    ("unknown options", kinds_with(options={"control": 5.0})),
    ("weights that are no numbers", first_of("finder", lambda t: torch.full_like(t, float("nan")))),
    ("weights of another shape", first_of("finder", lambda t: t[None])),
    ("margins that are no numbers", first_of("scorer", lambda t: torch.full_like(t, float("inf")))),
    ("an optimiser of nothing", state_with(optimiser={})),
    ("an optimiser of text", state_with(optimiser="adam")),
    ("groups without options", lambda state: state["optimiser"].update(param_groups=[{"params": []}])),
    ("a rate that is text", group_with(lr="high")),
    ("a rate below zero", group_with(lr=-1.0)),
    ("no rate", lambda state: state["optimiser"]["param_groups"][0].pop("lr")),
    ("another way to optimise", group_with(amsgrad=True)),
    ("moments of another shape", moment_as(lambda t: t.new_zeros(3))),
    ("moments that are no numbers", moment_as(lambda t: torch.full_like(t, float("nan")))),
    ("moments of unknown weights", lambda state: state["optimiser"]["state"].update({10**6: {}})),
    ("nothing to go back to", lambda state: state.pop("before")),
    ("an objective that is text", lambda state: state["before"].update(objective="low")),
    ("other weights to go back to", lambda state: state["before"].update(weights={})),
]  # fmt: skip


@pytest.mark.parametrize("spoil", [row[1] for row in STATES], ids=[row[0] for row in STATES])
def test_a_state_with_right_checksums_and_absurd_content(
    cli: Call, unfinished: Path, tmp_path: Path, spoil: Callable[[dict[str, Any]], object]
) -> None:
    shutil.copytree(unfinished, tmp_path / "run")
    folder = state_of(tmp_path / "run")
    state = checkpoint.load_state(folder)
    spoil(state)
    checkpoint.save_state(folder, state)
    code, _, err = call_on(cli, "resume", tmp_path / "run", tmp_path / "out")
    assert code == 5, err


def test_a_state_that_is_right_goes_on(cli: Call, unfinished: Path, tmp_path: Path) -> None:
    """What the tests above spoil is whole before."""
    shutil.copytree(unfinished, tmp_path / "run")
    assert call_on(cli, "resume", tmp_path / "run", tmp_path / "out")[0] == 0


def saved(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def squeezed(data: bytes) -> bytes:
    """The same archive, compressed: a few bytes could become any number."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry.filename))
    return out.getvalue()


PICKLES = [
    ("a list", saved([1, 2])),
    ("a number", saved(3)),
    ("bytes made at will", saved({"a": bytearray(10)})),
    ("a set", saved({"a": {1, 2}})),
    ("a tensor without memory", saved({"a": torch.zeros(3, device="meta")})),
    ("a sparse tensor", saved({"a": torch.eye(3).to_sparse()})),
    ("one number a thousand million times", saved({"a": torch.zeros(1).expand(10**9)})),
    ("compressed", squeezed(saved({"a": torch.zeros(1000)}))),
    ("an older form", b"\x80\x02" + b"(lp0\n." * 3),
]


@pytest.mark.parametrize("data", [row[1] for row in PICKLES], ids=[row[0] for row in PICKLES])
def test_38_a_state_takes_no_more_memory_than_it_has_bytes(data: bytes) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        checkpoint.unpickle(data)
    assert not isinstance(caught.value, MemoryError | ColocError)


def test_what_a_state_holds_is_read(tmp_path: Path) -> None:
    value = {"a": torch.zeros(3, 4).t(), "b": [1, "two", None, 3.0, True], "c": {"d": torch.ones((), dtype=torch.bool)}}
    checkpoint.save_state(tmp_path, value)
    back = checkpoint.load_state(tmp_path)
    assert torch.equal(back["a"], value["a"])  # type: ignore[arg-type]
    assert back["b"] == value["b"]


def test_a_report_of_settings_that_are_damaged(cli: Call, run: Path, tmp_path: Path) -> None:
    for text in ("steps = = 3", "size = 0.3", "stepz = 1", "[a]"):
        (run / "config.toml").write_text(text)
        assert call_on(cli, "report", run, tmp_path / "out")[0] == 5


def test_a_report_shows_a_run_without_a_log(run: Path, tmp_path: Path) -> None:
    (run / "metrics.jsonl").unlink()
    (run / "skipped.jsonl").unlink()
    assert "Mean of all crops" in write_report(run, tmp_path / "page.html").read_text()
    assert json.loads(json.dumps(list(read_metrics(run / "metrics.jsonl")))) == []


def test_reading_a_small_file_takes_no_more_than_it_has(tmp_path: Path) -> None:
    """A bound of some GB is no wish: with less memory than that every model ended in `out of memory`."""
    (tmp_path / "small").write_bytes(b"x" * 1000)
    tracemalloc.start()
    try:
        assert read_plain(tmp_path / "small", 1 << 28) == b"x" * 1000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
