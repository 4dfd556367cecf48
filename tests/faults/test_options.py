"""Whatever is typed: every option of every command is given odd values, and answers with a right code and one line."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import hypothesis
import hypothesis.strategies as st
import pytest
import typer

from stn_cli.cli.app import app, run
from stn_cli.errors import InputError, UsageError
from stn_cli.runs.config import TrainConfig
from tests.conftest import Trained, make_image, write_image

Call = Callable[..., tuple[int, str, str]]
RIGHT = {0, 2, 3, 4, 5, 7}
SECONDS = 60
"""Longer than this nothing that is so small may take."""

VALUES = [
    "", " ", "0", "-1", "1.5", "nan", "inf", "-inf", "1e400", "1e-400", "99999999999999999999", "-99999999999999999999", "0x10",
    "é", "\udcff", "a\nb", "\x1b[31m", "%s", "{0}", "[bold]", "--", "-", "a,b", "1-", "1,2,3,4", "true", "null",
    "..", "../..", "/", "/dev/null", "/proc/self/mem", "no/such/thing", "~", "$HOME", "x" * 5000, "auto", "cuda:abc",
    "cuda:99999999999999999999", "mps:1", "*", "**", "[", "gradient/../..", "0@0", "@", "PRN",
]  # fmt: skip
PARTS = 3
"""Parts of the values; one is tried by `make test`, the others by `make test-slow`."""
NO_SOURCES = {"-", "/"}
"""Standard input, where the tests have none; all that there is on the machine."""


@dataclass(frozen=True)
class Option:
    """A parameter of a command."""

    command: str
    name: str
    flag: bool
    argument: bool


def every_option() -> list[Option]:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = []
    for name, command in commands.items():
        for p in command.params:
            long = next((o for o in p.opts if o.startswith("--")), p.name)
            argument = p.param_type_name == "argument"
            if long not in ("--help", "--debug"):
                found.append(Option(name, long, bool(getattr(p, "is_flag", False)), argument))
    return found


OPTIONS = every_option()


def test_the_commands_have_the_options_that_are_tried() -> None:
    """The list above is not empty by mistake."""
    names = {(o.command, o.name) for o in OPTIONS}
    assert {
        ("train", "--lr"),
        ("localise", "--crop-size"),
        ("track", "--init"),
        ("evaluate", "truth"),
        ("export", "--split"),
    } <= names
    assert len(names) > 70


@pytest.fixture(scope="module")
def place(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of images, a run that was trained on them, boxes and their truth."""
    folder = tmp_path_factory.mktemp("place")
    for n in range(3):
        write_image(folder / "images" / f"{n}.png", make_image(n)[0])
    shutil.copytree(trained.run, folder / "run")
    lines = [f"# relative to {folder}/images/", *(f"{folder}/images/{n}.png" for n in range(3))]
    (folder / "run" / "images.txt").write_text("\n".join(lines) + "\n")
    boxes = {f"{n}.png": [make_image(n)[1]] for n in range(3)}
    (folder / "truth.json").write_text(json.dumps(boxes))
    coco = {
        "images": [{"id": n + 1, "file_name": f"{n}.png", "width": 60, "height": 48} for n in range(3)],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": [
            {"id": n + 1, "image_id": n + 1, "category_id": 1, "bbox": [1, 1, 18, 18], "area": 324, "iscrowd": 0, "score": 0.5}
            for n in range(3)
        ],
    }
    (folder / "boxes.json").write_text(json.dumps(coco))
    return folder


def usual(command: str, place: Path, out: str) -> list[str]:
    """A call of a command that is right and cheap, without its arguments."""
    small = ["--encoder=gradient", "--steps=1", "--finetune=0", "--imgsz=32", "--batch=2", "--device=cpu", "--no-report"]
    return {
        "train": [f"--out={out}", "-q", *small],
        "localise": [f"--out={out}", "-q", f"--model={place / 'run'}", "--device=cpu"],
        "export": [f"--out={out}", "-q", f"--source={place / 'images'}", "--split=100"],
        "track": [f"--out={out}", "-q", "--encoder=gradient", "--init=5,5,18,18", "--device=cpu"],
        "pretrain": [f"--out={out}", "-q", "--device=cpu"],
        "report": [f"--out={out}.html", "-q", "--device=cpu"],
    }.get(command, [])


def arguments_of(command: str, place: Path) -> dict[str, str]:
    return {
        "train": {"source": str(place / "images")},
        "localise": {"source": str(place / "images")},
        "export": {"boxes": str(place / "boxes.json")},
        "track": {"source": str(place / "images")},
        "pretrain": {"source": str(place / "images")},
        "evaluate": {"predicted": str(place / "boxes.json"), "truth": str(place / "truth.json")},
        "report": {"run": str(place / "run")},
    }.get(command, {})


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """A call that hangs fails its test; where there are no alarms, it hangs."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"still running after {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def everything_in(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of all files: what a call may not change."""
    rows = []
    for path in folder.rglob("*"):
        found = path.lstat()
        rows.append((os.fsencode(path).hex(), found.st_size, found.st_mtime_ns if path.is_file() else 0))
    return sorted(rows)


def judge(code: int, out: str, err: str, call: list[str]) -> str:
    """What is wrong with an answer; empty when nothing is."""
    said = [line for line in err.splitlines() if line.startswith("error:")]
    wrong = []
    if code not in RIGHT:
        wrong.append(f"code {code}")
    if "Traceback" in err + out:
        wrong.append("a traceback")
    if len(said) != (code != 0):
        wrong.append(f"{len(said)} errors")
    if code and err.splitlines() != said:
        wrong.append("more than a line")
    if "\x1b" in err:
        wrong.append("a control character")
    return f"{[part[:80] for part in call]}: {', '.join(wrong)}\n{err[-600:]}" if wrong else ""


def answer(*arguments: str) -> tuple[int, str, str]:
    """As the fixture `cli`, for names that are not UTF-8 too: they are printed as they are."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        code = run(list(arguments))
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode("utf-8", "replace") for stream in streams)  # type: ignore[attr-defined]
    return code, out, err


@pytest.mark.parametrize("part", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, PARTS))])
@pytest.mark.parametrize("option", OPTIONS, ids=[f"{o.command} {o.name}" for o in OPTIONS])
def test_any_value_of_any_option(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: Option, part: int
) -> None:
    """A third of the values each; which third comes first goes round with the options, so that each value is tried every time."""
    here = tmp_path / "a" / "here"
    here.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "a"):
        (folder / "mine.txt").write_text("mine")
    monkeypatch.chdir(here)
    before = everything_in(place)
    wrong = []
    for number, value in enumerate(VALUES if not option.flag else ["", "1", "é"]):
        if (number + OPTIONS.index(option)) % PARTS != part:
            continue
        if (option.argument or option.name in ("--source", "--boxes")) and value in NO_SOURCES:
            continue
        positional = arguments_of(option.command, place)
        given = usual(option.command, place, f"out{number}")
        if option.argument:
            positional[option.name] = value
        else:
            given.append(f"{option.name}={value}")
        call = [option.command, *given, "--", *positional.values()]
        with no_longer_than(SECONDS):
            wrong.append(judge(*answer(*call), call))
    assert not list(filter(None, wrong)), "\n".join(filter(None, wrong))
    assert everything_in(place) == before
    assert (tmp_path / "mine.txt").read_text() == "mine"
    kept = {"letterboxes-32"} if option.name == "--cache" else set()  # a folder that was named is where they belong
    assert {p.name for p in tmp_path.iterdir()} - kept == {"mine.txt", "a"}
    assert {p.name for p in (tmp_path / "a").iterdir()} - kept == {"mine.txt", "here"}


# ---- a file of settings


TOMLS = [
    # what is wrong, the file, exit code, words that must be said
    ("a number for two", "size = 0.3", 2, ["setting size in", "c.toml", "list of 2 numbers", "'0.3'"]),
    ("text for two", 'size = "big"', 2, ["size", "list of 2 numbers"]),
    ("one of two", "size = [1]", 2, ["size", "list of 2 numbers"]),
    ("three of two", "size = [0.1, 0.2, 0.3]", 2, ["size", "list of 2 numbers"]),
    ("no numbers", "size = [nan, nan]", 2, ["each side of --size must be 0 to 1", "'nan'"]),
    ("no end", "size = [0.1, inf]", 2, ["each side of --size", "'inf'"]),
    ("lists in a list", "size = [[0.1], [0.2]]", 2, ["size", "list of 2 numbers"]),
    ("truth for a number", "size = [true, false]", 2, ["size", "list of 2 numbers"]),
    ("truth for a count", "steps = true", 2, ["setting steps in", "must be a int"]),
    ("a fraction for a count", "steps = 1.0", 2, ["steps", "must be a int"]),
    ("a table", "[steps]\na = 1", 2, ["steps", "must be a int"]),
    ("a date", "steps = 1979-05-27", 2, ["steps", "must be a int"]),
    ("a number for text", "encoder = 3", 2, ["encoder", "must be a str"]),
    ("no number", "lr = nan", 2, ["--lr must be 1e-08 to 10", "'nan'"]),
    ("no end", "margin = inf", 2, ["--margin must be 0 to 100"]),
    ("a float too large", "lr = 1e400", 2, ["--lr"]),
    ("an integer too large for a float", "lr = 1" + "0" * 400, 2, ["setting lr in", "is too large"]),
    ("an integer too large to write", "steps = 0x" + "f" * 5000, 2, ["--steps must be", "a very large int"]),
    ("an integer too large to read", "steps = " + "9" * 5000, 3, ["not a TOML file"]),
    ("a seed too large", "seed = 1180591620717411303424", 2, ["--seed must be 0 to"]),
    ("an empty encoder", 'encoder = ""', 2, ["--encoder must name an encoder"]),
    ("a name with a NUL", 'encoder = "a\\u0000b"', 2, ["unknown encoder", "a\\x00b"]),
    ("weights with a NUL", 'encoder = "resnet18"\nweights = "a\\u0000b"', 5, ["cannot read weights"]),
    ("a device with a line end", 'device = "cpu\\n"', 2, ["unknown --device", "cpu\\n"]),
    ("a long value", 'search = "' + "x" * 100_000 + '"', 2, ["unknown --search", "xxx..."]),
    ("a long name", '"' + "x" * 100_000 + '" = 1', 2, ["unknown setting", "xxx..."]),
    ("a name with a line end", '"a\\nb" = 1', 2, ["unknown setting", "a\\nb"]),
    ("lists without end", "size = " + "[" * 100_000, 3, ["not a TOML file", "nested too deeply"]),
    ("no TOML", "steps = = 3", 3, ["not a TOML file"]),
    ("twice", "steps = 3\nsteps = 4", 3, ["not a TOML file"]),
]


@pytest.mark.parametrize(
    ("text", "code", "words"), [row[1:] for row in TOMLS], ids=[f"{row[0]}: {row[1][:20]!r}" for row in TOMLS]
)
def test_settings_of_a_wrong_kind(cli: Call, place: Path, tmp_path: Path, text: str, code: int, words: list[str]) -> None:
    (tmp_path / "c.toml").write_text(text)
    call = ["train", str(place / "images"), "-o", str(tmp_path / "run"), "--config", str(tmp_path / "c.toml")]
    got, out, err = cli(*call)
    assert (got, judge(got, out, err, call)) == (code, "")
    assert len(err) < 600
    for word in words:
        assert word in err


FILES = [
    # what it is, how it is made, exit code of train --print-config
    ("a byte order mark", lambda p: p.write_bytes("\ufeffsteps = 7\n".encode()), 0),
    ("UTF-16", lambda p: p.write_bytes("steps = 7\n".encode("utf-16")), 3),
    ("latin-1", lambda p: p.write_bytes(b'encoder = "\xe9"\n'), 3),
    ("nothing", lambda p: p.write_bytes(b""), 0),
    ("NULs", lambda p: p.write_bytes(b"\0" * 100), 3),
    ("a folder", lambda p: p.mkdir(), 3),
    ("no file", lambda p: None, 3),
    ("a link to itself", lambda p: p.symlink_to(p), 3),
    ("a pipe", lambda p: os.mkfifo(p), 3),
    ("a device", lambda p: p.symlink_to("/dev/zero"), 3),
    ("larger than memory", lambda p: (p.touch(), os.truncate(p, 1 << 40)), 3),
    ("somewhat too large", lambda p: p.write_bytes(b"#" * (1 << 21)), 3),
]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
@pytest.mark.parametrize(("make", "code"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_files_of_settings(cli: Call, tmp_path: Path, make: Callable[[Path], object], code: int) -> None:
    make(tmp_path / "c.toml")
    call = ["train", "--print-config", "--config", str(tmp_path / "c.toml")]
    with no_longer_than(SECONDS):
        got, out, err = cli(*call)
    assert (got, judge(got, out, err, call)) == (code, "")
    assert ("steps" in out) == (code == 0)


TEXT = st.text(max_size=40).filter(bool)
SIDES = st.tuples(st.floats(0.02, 1.0), st.floats(0.02, 1.0)).map(lambda pair: (min(pair), max(pair)))


@hypothesis.given(
    encoder=TEXT,
    weights=st.text(),
    layer=st.text(),
    device=st.text(),
    size=SIDES,
    lr=st.floats(1e-8, 10),
    margin=st.floats(0, 100),
)
@hypothesis.example("\x00\x1f\x7f\x80\u2028\"\\'\r\n\t\ufeff", "\U0010ffff", "#", '"""', (0.02, 1.0), 1e-8, 0.0)
def test_settings_are_read_back_as_they_were_written(
    encoder: str, weights: str, layer: str, device: str, size: tuple[float, float], lr: float, margin: float
) -> None:
    settings = TrainConfig(encoder=encoder, weights=weights, layer=layer, device=device, size=size, lr=lr, margin=margin)
    data = settings.toml().encode("utf-8")
    assert TrainConfig.read(tomllib.loads(data.decode("utf-8")), "here") == settings


def test_a_setting_that_a_file_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="--encoder must be UTF-8"):
        TrainConfig(encoder=os.fsdecode(b"\xff"))


@hypothesis.settings(max_examples=200)
@hypothesis.given(st.binary(max_size=200))
def test_any_bytes_as_settings(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    with suppress(InputError, UsageError):  # and nothing else
        TrainConfig.from_toml(path)
