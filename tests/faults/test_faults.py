"""The table of faults: numbers in the names of the tests. What is not here stands in the test of its module, with its number."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stn_cli.errors import CheckpointError, OutputError, printable
from stn_cli.files import atomic, safe_name, write_bytes
from stn_cli.media.decode import Unusable, decode, load, read_bytes, read_header
from stn_cli.media.scan import scan
from stn_cli.runs import checkpoint
from tests.conftest import QUICK_FLAGS, Trained, make_folder, make_image, write_image

Call = Callable[..., tuple[int, str, str]]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def jpeg(size: tuple[int, int] = (200, 300)) -> bytes:
    out = io.BytesIO()
    Image.fromarray(make_image(0, size=size)[0]).save(out, "JPEG", quality=90)
    return out.getvalue()


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(make_image(0, size=(200, 300))[0]).save(out, "PNG")
    return out.getvalue()


def flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


# number, name, bytes, reason that must be given
IMAGES = [
    ("1 zero bytes", "a.jpg", b"", "empty"),
    ("2 text named jpg", "a.jpg", b"this is text", "not an image"),
    ("3 half a JPEG", "a.jpg", jpeg()[: len(jpeg()) // 2], "truncated"),
    ("3 nearly all of a JPEG", "a.jpg", jpeg()[:-40], "truncated"),
    ("3 a JPEG's first bytes", "a.jpg", jpeg()[:20], None),
    ("4 half a PNG", "a.png", png()[: len(png()) // 2], "truncated"),
    ("4 PNG with a bad CRC", "a.png", flip(png(), len(png()) // 2), "damaged: bad CRC"),
    ("12 40,000 x 40,000", "a.png", png_header(40_000, 40_000), "too large: 40000 x 40000"),
    ("13 1,000,000 x 1", "a.png", png_header(1_000_000, 1), "too small"),
    ("13 a side under 10", "a.png", png_header(500, 9), "too small"),
    ("garbage after the magic bytes", "a.gif", b"GIF89a" + b"\xff" * 50, None),
    ("a TIFF that points nowhere", "a.tif", b"II*\0\xff\xff\xff\xff" + b"\0" * 40, None),
]


@pytest.mark.parametrize(("name", "data", "reason"), [row[1:] for row in IMAGES], ids=[row[0] for row in IMAGES])
def test_unusable_images_are_skipped_with_a_reason(tmp_path: Path, name: str, data: bytes, reason: str | None) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Unusable, match=reason):
        load(tmp_path / name)


def test_12_the_size_is_read_before_anything_is_decoded() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unusable, match="too large"):
        read_header(png_header(40_000, 40_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert read_header(png_header(40_000, 100), max_pixels=5_000_000).width == 40_000


def test_14_a_file_that_vanished_after_the_scan(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="vanished"):
        read_bytes(str(tmp_path / "gone.jpg"))


def test_mutated_images_never_crash() -> None:
    """A few hundred of the ten thousand: decoded or skipped, nothing else."""
    rng = np.random.default_rng(0)
    gif, webp = io.BytesIO(), io.BytesIO()
    small = Image.fromarray(make_image(0)[0])
    small.save(gif, "GIF")
    small.save(webp, "WEBP")
    for source in (jpeg((40, 60)), png(), gif.getvalue(), webp.getvalue()):
        for _ in range(80):
            data = bytearray(source)
            for _ in range(int(rng.integers(1, 12))):
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
            if rng.random() < 0.3:
                del data[int(rng.integers(len(data))) :]
            try:
                out = decode(bytes(data), read_header(bytes(data)))
                assert out.dtype == np.uint8
            except Unusable:
                pass


# ---- names and folders


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    """15-18, 21, 22, 24: names that break programs."""
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [
        b"not-utf8-\xff\xfe.png",
        b"with space.png",
        b"new\nline.png",
        b"-dash.png",
        "e\u0301.png".encode(),
        "\u00e9.png".encode(),
        b"b[red].png",
        b"esc-\x1b[31mred.png",
        b"x.PNG",
        b"x" * 251 + b".png",
        b"=cmd.png",
    ]
    for n, name in enumerate(names):
        image = make_image(n)[0]
        done = io.BytesIO()
        Image.fromarray(image).save(done, "PNG")
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(done.getvalue())
    write_image(folder / "a[" / "].png", make_image(42)[0])  # rich would take [/] for markup
    for sub in ("a", "b"):
        write_image(folder / sub / "x.jpg", make_image(40)[0])
        write_image(folder / sub / "x.png", make_image(41)[0])
    return folder


def test_15_to_24_names_survive_the_whole_way(odd_names: Path, trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "stn_cli", "localise", str(odd_names), "-m", str(trained.run), "-o", str(out)]
    done = subprocess.run(
        [*command, "--overlay", "--crops", "-v"], capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stderr + done.stdout
    data = json.loads((out / "boxes.json").read_text())
    names = [i["file_name"] for i in data["images"]]
    assert len(names) == len(set(names)) == 16
    for expected in (
        "not-utf8-%FF%FE.png",
        "new\\nline.png",
        "esc-\\x1b[31mred.png",
        "a[/].png",
        "e\u0301.png",
        "\u00e9.png",
        "a/x.jpg",
    ):
        assert expected in names
    for kind in ("overlay", "crops"):
        written = [p for p in (out / kind).rglob("*") if p.is_file()]
        assert len(written) == 16  # nothing was overwritten: x.jpg and x.png, a/x and b/x, the NFC and the NFD name


def test_15_training_on_odd_names_and_resuming_their_list(odd_names: Path, cli: Call, tmp_path: Path) -> None:
    from stn_cli.runs.folder import read_images

    code, _, err = cli("train", odd_names, "-o", tmp_path / "run", "-q", *QUICK_FLAGS)
    assert code == 0, err
    assert [f.name for f in read_images(tmp_path / "run")] == [f.name for f in scan(odd_names).images]
    assert cli("localise", "-m", tmp_path / "run", "-o", tmp_path / "out", "-q")[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_23_unreadable_files_and_folders(tmp_path: Path) -> None:
    make_folder(tmp_path, 3)
    (tmp_path / "images/000.png").chmod(0)
    (tmp_path / "images/closed").mkdir(mode=0)
    found = scan(tmp_path / "images")
    assert any("unreadable folder" in s.reason for s in found.skipped)
    with pytest.raises(Unusable, match="unreadable"):
        load(tmp_path / "images/000.png")


def test_23_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, 2)
    (tmp_path / "images/closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = scan(tmp_path / "images")
    assert [(s.file, s.reason) for s in found.skipped] == [("closed", "unreadable folder: Permission denied")]
    assert len(found.images) == 2


def test_24_long_names_are_cut_and_stay_apart() -> None:
    a, b = "d/" + "x" * 250 + ".png", "d/" + "x" * 249 + "y.png"
    out = {safe_name(a, ".jpg"), safe_name(b, ".jpg")}
    assert len(out) == 2
    assert all(len(name.split("/")[1].encode()) <= 255 and name.endswith(".jpg") for name in out)


# 25 and the training's own bad input: what is in the folder, and words that must be in the one line
FOLDERS = [
    ("empty", lambda d: None, ["at least 2 images", "0 images"]),
    ("one image", lambda d: write_image(d / "a.png", make_image(0)[0]), ["at least 2 images", "1 image,"]),
    (
        "nothing usable",
        lambda d: [(d / f"{i}.jpg").write_text("text") for i in range(3)],
        ["at least 2 usable images", "0 usable, 3 skipped"],
    ),
    ("all identical", lambda d: [write_image(d / f"{i}.png", make_image(0)[0]) for i in range(5)], ["all images are alike"]),
    (
        "all black",
        lambda d: [write_image(d / f"{i}.png", np.zeros((30, 30, 3), np.uint8)) for i in range(5)],
        ["all images are alike"],
    ),
]


@pytest.mark.parametrize(("fill", "words"), [row[1:] for row in FOLDERS], ids=[row[0] for row in FOLDERS])
def test_25_too_little_to_learn_from(cli: Call, tmp_path: Path, fill: Callable[[Path], object], words: list[str]) -> None:
    source = tmp_path / "images"
    source.mkdir()
    fill(source)
    code, out, err = cli("train", source, "-o", tmp_path / "run", "-q")
    assert code == 3
    assert out == ""
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err


# ---- outputs


def test_26_a_file_in_the_way(cli: Call, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for arguments in (["train", trained.images], ["localise", "-m", trained.run]):
        code, _, err = cli(*arguments, "-o", tmp_path / "file", "-q")
        assert code == 4
        assert "a file is in the way" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_26_not_writable(cli: Call, trained: Trained) -> None:
    code, _, err = cli("localise", "-m", trained.run, "-o", "/proc/stn-coloc-out", "-q")
    assert code == 4
    assert "cannot write" in err


def test_27_disk_full_keeps_the_last_good_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.bin", b"good")
    code = (
        "import resource, signal, sys; from pathlib import Path; from stn_cli.files import write_bytes; "
        "from stn_cli.errors import OutputError; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_bytes(Path(sys.argv[1]), b'x' * 5000)\n"
        "except OutputError as e: print(e); sys.exit(e.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.bin")], capture_output=True, text=True)
    assert done.returncode == 4
    assert "cannot write" in done.stdout
    assert (tmp_path / "a.bin").read_bytes() == b"good"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_27_disk_full_during_localise(trained: Trained, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from stn_cli.cli.app import run; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); sys.exit(run(sys.argv[1:]))"
    )
    out = tmp_path / "out"
    arguments = ["localise", "-m", str(trained.run), "-o", str(out), "-q"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


def test_atomic_writes_leave_nothing_behind_on_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic(tmp_path / "a") as file:
        file.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError):
        write_bytes(tmp_path / "none" / "a", b"")


def test_29_output_is_not_read_as_input_again(cli: Call, trained: Trained, tmp_path: Path) -> None:
    """Results beside the images, and a later call on the folder that holds both."""
    make_folder(tmp_path / "all", 3)
    flags = ["-m", trained.run, "--overlay", "--crops", "--overwrite", "-q"]
    assert cli("localise", tmp_path / "all/images", *flags, "-o", tmp_path / "all/boxes")[0] == 0
    for _ in range(2):
        code, _, err = cli("localise", tmp_path / "all", *flags, "-o", tmp_path / "out")
        assert code == 0, err
        assert len(json.loads((tmp_path / "out/boxes.json").read_text())["images"]) == 3


# ---- checkpoints


@pytest.fixture
def run_copy(trained: Trained, tmp_path: Path) -> Path:
    import shutil

    shutil.copytree(trained.run, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("content", [b"", b"garbage" * 50, "cut", "flip"])
def test_36_37_damaged_model(cli: Call, run_copy: Path, tmp_path: Path, content: bytes | str) -> None:
    path = run_copy / "model.safetensors"
    good = path.read_bytes()
    damaged = {"cut": good[: len(good) // 2], "flip": flip(good, len(good) - 999)}.get(content, content)  # type: ignore[call-overload]
    path.write_bytes(damaged)
    code, _, err = cli("localise", "-m", run_copy, "-o", tmp_path / "o", "-q")
    assert code == 5
    assert "damaged model" in err
    assert "state.pt" in err  # the last good one is named
    if content == "flip":
        assert "checksum" in err


def test_37_every_flipped_bit_of_the_head_is_noticed(run_copy: Path) -> None:
    path = run_copy / "model.safetensors"
    good = path.read_bytes()
    size = int.from_bytes(good[:8], "little")
    rng = np.random.default_rng(0)
    for at in [
        *range(8),
        *(int(v) for v in rng.integers(8, 8 + size, 60)),
        *(int(v) for v in rng.integers(8 + size, len(good), 20)),
    ]:
        path.write_bytes(flip(good, at))
        with pytest.raises(CheckpointError):
            checkpoint.load_model(run_copy)


@pytest.mark.parametrize("content", [b"", b"garbage", "cut", "flip"])
def test_36_37_damaged_state(cli: Call, run_copy: Path, content: bytes | str) -> None:
    path = run_copy / "state.pt"
    good = path.read_bytes()
    damaged = {"cut": good[: len(good) // 2], "flip": flip(good, len(good) // 2)}.get(content, content)  # type: ignore[call-overload]
    path.write_bytes(damaged)
    code, _, err = cli("train", "--resume", "-o", run_copy, "-q")
    assert code == 5
    assert "damaged training state" in err
    assert "model.safetensors" in err


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


@pytest.mark.parametrize("name", ["state.pt", "model.safetensors"])
def test_38_a_pickle_runs_no_code(
    cli: Call, run_copy: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    for payload in (pickle.dumps(Payload()), None):
        if payload is None:
            torch.save({"state": Payload(), "sha256": ""}, run_copy / name)
        else:
            (run_copy / name).write_bytes(payload)
        arguments = (
            ["train", "--resume", "-o", run_copy] if name == "state.pt" else ["localise", "-m", run_copy, "-o", tmp_path / "o"]
        )
        assert cli(*arguments, "-q")[0] == 5
    assert not (tmp_path / "executed").exists()


def test_39_another_version_or_architecture(run_copy: Path, cli: Call, tmp_path: Path) -> None:
    tensors, facts = checkpoint.load_model(run_copy)
    checkpoint.save_model(run_copy, {k: v for k, v in tensors.items() if "stem" not in k}, facts)
    code, _, err = cli("localise", "-m", run_copy, "-o", tmp_path / "o", "-q")
    assert code == 5
    assert "missing 0.finder.levels.0.localisation.body.stem.bias" in err
    checkpoint.save_model(run_copy, tensors, {**facts, "format": 99})
    assert "format 99" in cli("localise", "-m", run_copy, "-o", tmp_path / "o", "-q")[2]
    checkpoint.save_model(run_copy, tensors, {**facts, "transform": "bow"})
    assert cli("localise", "-m", run_copy, "-o", tmp_path / "o", "-q")[0] in (2, 5)


def test_40_nothing_to_resume(cli: Call, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    code, _, err = cli("train", "--resume", "-o", tmp_path / "run", "-q")
    assert code == 5
    assert "nothing to resume" in err
    assert list((tmp_path / "run").iterdir()) == []  # it did not start anew


def test_44_a_closed_pipe_is_no_traceback(trained: Trained, tmp_path: Path) -> None:
    command = f"{sys.executable} -m stn_cli localise -m {trained.run} -o {tmp_path / 'o'} --json | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain ünïcode.png", "plain ünïcode.png"),
        (os.fsdecode(b"\xff.png"), "%FF.png"),
        ("a\nb\x1b", "a\\nb\\x1b"),
        ("\ud800", "\ufffd"),
    ],
)
def test_18_what_is_printed_is_printable(raw: str, shown: str) -> None:
    assert printable(raw) == shown
