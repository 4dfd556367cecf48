"""A long JSON file says the same, read row by row, as read at once; and what is wrong with it is told alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stn_cli.errors import InputError
from stn_cli.formats import json_rows
from stn_cli.formats.json_file import read_json
from stn_cli.formats.json_rows import JsonMembers, JsonRows, read_long_json

SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(max_size=6)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=12
)
ROWS = st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=9)
FILES = st.fixed_dictionaries({"images": ROWS, "annotations": ROWS | SCALARS}) | st.dictionaries(
    st.text(max_size=4), VALUES, max_size=9
)


def plain(found: Any) -> Any:
    if isinstance(found, JsonMembers):
        return {key: plain(value) for key, value in found.items()}
    return list(found) if isinstance(found, JsonRows) else found


def said(read: Callable[[Path, str], Any], path: Path) -> Any:
    """What a file says, or what is said to be wrong with it."""
    try:
        return plain(read(path, "the file"))
    except InputError as error:
        return str(error)


@pytest.fixture(autouse=True)
def _tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "CHUNK", 7)
    monkeypatch.setattr(json_rows, "MOST_KEPT", 3)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    FILES | ROWS | st.lists(VALUES),
    st.sampled_from([None, 2]),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_it_says_the_same(tmp_path: Path, value: Any, indent: int | None, ascii_only: bool, coding: str) -> None:
    path = tmp_path / "a.json"
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(text.encode(coding, "surrogatepass"))
    found = read_long_json(path, "the file")
    assert plain(found) == read_json(path, "the file") == value
    assert plain(found) == value  # and once more
    if isinstance(found, JsonRows | JsonMembers):
        assert len(found) == len(value)
    if isinstance(found, JsonRows):
        assert found.of_objects == all(isinstance(row, dict) for row in value)
        assert all(row in found for row in value)
    elif isinstance(found, JsonMembers):
        assert {key: plain(found[key]) for key in found} == value
        assert {key for key in ("images", "annotations", "") if key in found} == {"images", "annotations", ""} & value.keys()
        assert "no such key" not in found
        assert dict(found.pairs()).keys() == value.keys()


def test_the_long_lists_are_not_held(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": [{"id": 1}] * 9, "annotations": [1, 2], "others": [1, 2]}))
    found = read_long_json(path, "the file")
    assert isinstance(found["images"], JsonRows)
    assert (found["images"].of_objects, found["annotations"].of_objects, found["others"]) == (True, False, [1, 2])
    pairs = zip(found["images"], found["images"], strict=True)  # each has a place of its own in the file
    assert sum(a == b for a, b in pairs) == 9


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "{", "[", "[1,", "[1 2]", '{"a" 1}', '{"a": 1,}', "[1,]", '{1: 2}', '{"a": 1} x', "[1] [2]", '{"images": [{"id": 1}',
        '{"a": 1 "b": 2}', "nul", "[nul]", '"a', "[" * 100_000, '{"images": [' + '{"a": ' * 100_000, '{"a": "\x01"}', "1", '"a"', "true",
        '{"a": 01}', "[1.]", "\ufeff\ufeff[]",
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_as_of_a_short_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, "utf-8")
    assert said(read_long_json, path) == said(read_json, path)


@pytest.mark.parametrize("data", [b"[\xff]", b'["\xed\xa0\x80"]', b'{"a": "\xc3\x28"}'])
def test_bytes_that_are_no_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    assert said(read_long_json, path) == said(read_json, path)


def test_a_file_that_is_changed_while_it_is_read_ends_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"id": n} for n in range(50)]))
    found = read_long_json(path, "the file")
    path.write_text("[{")
    with pytest.raises(InputError, match="the file was changed while it was read"):
        list(found)


def test_a_long_value_is_tried_a_few_times_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the frames of a video, which are held."""
    path, tried = tmp_path / "a.json", list[int]()
    path.write_text(json.dumps({"frames": [list(range(20))] * 5000}))
    real = json.JSONDecoder.raw_decode
    monkeypatch.setattr(json.JSONDecoder, "raw_decode", lambda self, text, at: tried.append(len(text)) or real(self, text, at))
    assert len(read_long_json(path, "the file")["frames"]) == 5000
    assert sum(tried) < 6 * path.stat().st_size


def test_what_is_no_file_and_what_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2, 3]")
    for path, limit, why in (
        (tmp_path, 100, "folder"),
        (tmp_path / "none", 100, "No such file"),
        (tmp_path / "a.json", 3, "too large"),
    ):
        with pytest.raises(InputError, match=why):
            read_long_json(path, "the file", limit)


def test_a_name_that_stands_twice_counts_once_and_as_it_stands_last(tmp_path: Path) -> None:
    from stn_cli.formats.truth import read_truth

    path = tmp_path / "a.json"
    path.write_text('{"a": [[0, 0, 1, 1], [0, 0, 2, 2]], "b": [], "c": [[0, 0, 4, 4]], "a": [[0, 0, 3, 3]]}')
    truth = read_truth(path)
    assert {name: [o.box for o in objects] for name, objects in truth.images.items()} == {
        "a": [(0, 0, 3, 3)],
        "b": [],
        "c": [(0, 0, 4, 4)],
    }
