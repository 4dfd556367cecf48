"""Odd terminals, closed streams, missing folders: the program in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Trained

ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
BASH = pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell")


def program(*arguments: object, cwd: Path, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program; `shell` is put behind it, for redirections."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "stn_cli", *map(str, arguments)]
    if shell:
        command = ["bash", "-c", f'"$0" "$@" {shell}', *command]
    return subprocess.run(
        command, capture_output=True, cwd=cwd, env=env, encoding="utf-8", errors="replace", timeout=120, check=False
    )


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of an answer."""
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_case_W_the_bare_program_shows_its_help(tmp_path: Path) -> None:
    done = program(cwd=tmp_path)
    assert done.returncode == 2
    assert "error" not in done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Usage: stn-coloc")
    assert any(line.strip().startswith("train ") for line in lines)


def test_an_ascii_terminal_takes_any_name(trained: Trained, tmp_path: Path) -> None:
    """Errors, help, progress, tables and results; what the terminal lacks is escaped."""
    source = tmp_path / "Bildér"
    source.mkdir()
    shutil.copy(trained.images / "000.png", source / "naïve 😀.png")
    (source / "schäbig.jpg").write_text("no image")
    done = program("localise", source, "-m", trained.run, "-o", tmp_path / "ergebnis é", "-v", cwd=tmp_path, **ASCII)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/ergebnis é/boxes.json\n"  # byte by byte as it was given
    assert done.stderr.isascii()
    assert "sch" in done.stderr
    line = one_line(program("train", tmp_path / "nö", cwd=tmp_path, **ASCII), 3)
    assert "no such file" in line
    assert program("evaluate", "--help", cwd=tmp_path, **ASCII).returncode == 0
    truth = tmp_path / "é.json"
    truth.write_text('{"naïve 😀.png": [[1, 2, 20, 20]]}', "utf-8")
    done = program("evaluate", tmp_path / "ergebnis é/boxes.json", truth, cwd=tmp_path, **ASCII)
    assert done.returncode == 0, done.stderr
    assert "CorLoc" in done.stdout


def test_settings_are_printed_as_utf8_whatever_the_terminal_is(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **ASCII}
    (tmp_path / "c.toml").write_text('layer = "é"', "utf-8")
    command = [sys.executable, "-m", "stn_cli", "train", "--print-config", "--config", "c.toml"]
    data = subprocess.run(command, capture_output=True, cwd=tmp_path, env=env, check=True).stdout
    assert 'layer = "é"' in data.decode("utf-8")


@BASH
@pytest.mark.parametrize(
    ("arguments", "shell", "code"),
    [
        (["train", "nowhere"], "2>&-", 3),
        (["train", "nowhere"], ">&-", 3),
        (["train", "nowhere"], "<&- >&- 2>&-", 3),
        (["train", "--print-config"], ">&-", 0),
        (["--help"], ">&-", 0),
        ([], "2>&-", 2),
        (["trian"], "<&-", 2),
    ],
)
def test_closed_streams(tmp_path: Path, arguments: list[str], shell: str, code: int) -> None:
    done = program(*arguments, cwd=tmp_path, shell=shell)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


@BASH
def test_no_file_takes_the_place_of_a_closed_stream(trained: Trained, tmp_path: Path) -> None:
    """The first file that is opened would get the number of stderr, and hold what is printed there."""
    done = program("localise", trained.images, "-m", trained.run, "-o", tmp_path / "o", cwd=tmp_path, shell=">&- 2>&-")
    assert done.returncode == 0
    assert (tmp_path / "o/boxes.json").read_bytes().startswith(b'{"info"')


def test_no_home(trained: Trained, tmp_path: Path) -> None:
    """Neither no HOME nor one that cannot be written to is in the way."""
    places = {"HOME": "/nowhere", "XDG_CACHE_HOME": "/nowhere", "XDG_CONFIG_HOME": "/nowhere"}
    done = program(
        "localise", trained.images / "000.png", "-m", trained.run, "-o", tmp_path / "o", "-q", cwd=tmp_path, **places
    )
    assert done.returncode == 0, done.stderr
    env = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)}
    bare = subprocess.run([sys.executable, "-m", "stn_cli", "doctor"], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert bare.returncode == 0, bare.stderr


@BASH
def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = f'rmdir "{gone}"; "{sys.executable}" -m stn_cli train images'
    done = subprocess.run(["bash", "-c", script], cwd=gone, env=env, capture_output=True, text=True, check=False)
    assert "is gone" in one_line(done, 3)


@pytest.mark.parametrize("command", ["train images", "localise", "track clip.mp4", "pretrain images"])
@pytest.mark.parametrize("name", ["out.json", "a/b.MP4", "x.html"])
def test_case_W_a_files_name_for_a_folder_is_asked_back(tmp_path: Path, command: str, name: str) -> None:
    from stn_cli.cli.app import run

    assert run([*command.split(), "-o", str(tmp_path / name)]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_files_ending_that_is_there_is_taken(tmp_path: Path) -> None:
    from stn_cli.cli.options import parse_out
    from stn_cli.errors import UsageError

    (tmp_path / "run.pt").mkdir()
    assert parse_out(str(tmp_path / "run.pt")) == tmp_path / "run.pt"
    with pytest.raises(UsageError, match=r"Did you mean -o out$"):
        parse_out("out.json")
    for text in ("", " "):
        with pytest.raises(UsageError, match="--out must not be empty"):
            parse_out(text)
