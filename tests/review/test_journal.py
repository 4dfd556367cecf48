"""The journal: what was confirmed is there, whatever is killed, filled up or taken away, and whoever else writes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stn_cli.errors import InputError, OutputError
from stn_cli.review.journal import ReviewJournal
from tests.conftest import ROOT

WRITER = """
import sys
from pathlib import Path
from stn_cli.review.journal import ReviewJournal
journal = ReviewJournal(Path(sys.argv[1]))
for n in range(int(sys.argv[3])):
    with journal.locked():
        journal.read_new()
        line = journal.add({"who": sys.argv[2], "n": n, "filler": "x" * 3000})
    print(line["seq"], flush=True)
"""


def add(journal: ReviewJournal, **action: object) -> int:
    with journal.locked():
        journal.read_new()
        return int(journal.add(dict(action))["seq"])


def lines(path: Path) -> list[dict[str, object]]:
    return ReviewJournal(path).read_new()


def writer(path: Path, who: str, count: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(path), who, str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


@contextmanager
def full_above(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `size` bytes: what a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_added_is_read_back_in_its_order(tmp_path: Path) -> None:
    journal = ReviewJournal(tmp_path / "review.jsonl")
    assert [add(journal, word=word) for word in ("one", "zwei", "trois ‑ ü")] == [1, 2, 3]
    assert [line["word"] for line in lines(journal.path)] == ["one", "zwei", "trois ‑ ü"]
    assert journal.read_new() == []  # its own lines are no news


def test_each_line_is_on_disk_before_it_is_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = ReviewJournal(tmp_path / "review.jsonl")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    add(journal, word="one")
    assert synced == [journal.path.stat().st_size]


def test_a_writer_that_is_killed_loses_nothing_that_it_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    for _ in range(3):
        with writer(path, "a", 100_000) as process:
            assert process.stdout is not None
            told = [process.stdout.readline() for _ in range(20)]
            process.kill()
            told += [line for line in process.stdout if line.endswith("\n")]
        found = lines(path)
        assert [line["seq"] for line in found] == list(range(1, len(found) + 1))
        assert len(found) >= int(told[-1])


def test_two_writers_at_once_do_not_lose_each_others_lines(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    mine = ReviewJournal(path)
    both = [writer(path, who, 60) for who in "ab"]
    own = {add(mine, who="c") for _ in range(20)}
    told = [{int(line) for line in process.communicate()[0].split()} for process in both]
    assert [process.returncode for process in both] == [0, 0]
    found = lines(path)
    assert [line["seq"] for line in found] == list(range(1, 141))
    by_writer = {who: {line["seq"] for line in found if line["who"] == who} for who in "abc"}
    assert by_writer == dict(zip("abc", [*told, own], strict=True))


@pytest.mark.parametrize("kept", [1, 7, -1])
def test_a_line_that_was_cut_short_is_told_and_passed_over(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "review.jsonl"
    add(ReviewJournal(path), word="one")
    whole = path.read_bytes()
    path.write_bytes(whole + whole.replace(b'"seq": 1', b'"seq": 2')[:-1][:kept])
    journal = ReviewJournal(path)
    assert [line["word"] for line in journal.read_new()] == ["one"]
    assert journal.ends_torn()
    assert add(journal, word="two") == 2
    assert not journal.ends_torn()
    assert path.read_bytes().startswith(whole)  # nothing that was there is changed
    assert [line["word"] for line in lines(path)] == ["one", "two"]
    assert journal.damaged == 1


@pytest.mark.parametrize(
    "damage", [b"[1, 2]\n", b'{"seq": "7"}\n', b'{"seq": 1}\n', b"\x00\xff\n", b'{"seq": true}\n', b"[" * 100_000 + b"\n"]
)
def test_lines_that_are_no_actions_are_counted(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "review.jsonl"
    add(ReviewJournal(path), word="one")
    path.write_bytes(path.read_bytes() + damage)
    journal = ReviewJournal(path)
    assert len(journal.read_new()) == 1
    assert journal.damaged == 1
    assert add(journal, word="two") == 2


def test_a_full_disk_confirms_nothing_and_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    journal = ReviewJournal(tmp_path / "review.jsonl")
    add(journal, word="one")
    before = journal.path.read_bytes()
    with full_above(len(before) + 10), pytest.raises(OutputError, match=r"cannot write: '.*review.jsonl' \(File too large\)"):
        add(journal, word="two")
    assert journal.path.read_bytes() == before
    assert add(journal, word="three") == 2
    assert [line["word"] for line in lines(journal.path)] == ["one", "three"]


def test_a_sync_that_fails_takes_the_line_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = ReviewJournal(tmp_path / "review.jsonl")
    add(journal, word="one")

    def fail(handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OutputError, match="Input/output error"):
            add(journal, word="two")
    assert [line["word"] for line in lines(journal.path)] == ["one"]
    assert add(journal, word="three") == 2


def test_what_is_written_after_the_folder_has_gone_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "boxes"
    folder.mkdir()
    journal = ReviewJournal(folder / "review.jsonl")
    add(journal, word="one")
    folder.rename(tmp_path / "away")
    with pytest.raises(OutputError, match="journal has gone"):
        add(journal, word="two")
    (tmp_path / "away").rename(folder)
    assert add(journal, word="three") == 2  # it came back
    journal.path.unlink()
    journal.path.write_text("")
    with pytest.raises(OutputError, match="another file now"):
        add(journal, word="four")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        ReviewJournal(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        ReviewJournal(tmp_path / "pipe")
    with pytest.raises(OutputError, match="No such file"):
        ReviewJournal(tmp_path / "nowhere" / "review.jsonl")


def test_a_line_is_one_line_of_ascii_json(tmp_path: Path) -> None:
    journal = ReviewJournal(tmp_path / "review.jsonl")
    add(journal, name="a\nb\u2028\u00e9.png")
    (text,) = journal.path.read_bytes().splitlines()
    assert text.isascii()
    assert json.loads(text)["name"] == "a\nb\u2028\u00e9.png"
