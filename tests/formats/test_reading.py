"""Files that others wrote: whatever stands in them ends in a result or in one line and code 3, and nothing is waited for."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stn_cli.cli.evaluate import evaluate
from stn_cli.errors import InputError, ResourceError
from stn_cli.formats import json_file
from stn_cli.formats.json_file import read_file, read_json

Call = Callable[..., tuple[int, str, str]]
BOXES = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 50, "height": 40},
        {"id": 2, "file_name": "b.png", "width": 50, "height": 40},
    ],
    "categories": [{"id": 1, "name": "object"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10], "score": 0.75, "iscrowd": 0}],
}
TRUTH = {"a.png": [[1, 2, 11, 12]], "b.png": [[0, 0, 5, 5]]}
TRACKS = {"video": {}, "frames": [{"frame": 0, "time": 0.0, "objects": [{"id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]}]}
MOT = "1,1,1,1,5,5,0.9,1,1,-1\n1,2,20,20,5,5,0.9,1,1,-1\n2,1,2,1,5,5,0.8,1,1,-1\n"
VOC = (
    "<annotation><filename>a.png</filename><object><name>cat</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin>"
    "<xmax>11</xmax><ymax>12</ymax></bndbox></object></annotation>"
)
DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one good file of each kind."""
    (tmp_path / "boxes.json").write_text(json.dumps(BOXES))
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    (tmp_path / "tracks.json").write_text(json.dumps(TRACKS))
    (tmp_path / "clip.json").write_text("[[1, 2, 4, 6], null]")
    (tmp_path / "tracks.txt").write_text(MOT)
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "a.xml").write_text(VOC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


PAIRS = [
    ("boxes.json", "truth.json"),
    ("boxes.json", "boxes.json"),
    ("boxes.json", "voc"),
    ("tracks.json", "clip.json"),
    ("tracks.txt", "clip.json"),
    ("tracks.json", "tracks.txt"),
]
"""Predictions and truth of each kind."""


@pytest.mark.parametrize(("predicted", "truth"), PAIRS)
def test_the_good_files_are_scored(place: Path, cli: Call, predicted: str, truth: str) -> None:
    assert cli("evaluate", predicted, truth)[0] == 0


@pytest.mark.parametrize(("predicted", "truth"), PAIRS)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (DEEP, "nested too deeply"),  # a parser that calls itself
        (b"", ""),
        (b"\x00" * 5000, ""),  # a sparse file
        (b"\x89PNG\r\n\x1a\n\x00\x00", ""),  # a picture instead
        (b"\xff\xfe\x00", ""),  # the mark of UTF-16, then half a character
        (b"NaN", ""),
        (b"1e400", ""),
        (b"true", ""),
        (b'{"frames": 7}', ""),
        (b'{"images": {}, "annotations": 7}', ""),
        (b'[{"image_id": []}]', ""),
        (b"1" * 5000, ""),  # more digits than Python turns into a number
    ],
)
def test_garbage_ends_with_3_and_one_line(
    place: Path, cli: Call, predicted: str, truth: str, which: int, data: bytes, says: str
) -> None:
    spoilt = place / (predicted, truth)[which]
    spoilt = spoilt / "a.xml" if spoilt.is_dir() else spoilt
    spoilt.write_bytes(data)
    code, out, err = cli("evaluate", predicted, truth)
    assert (code, out) == (3, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert spoilt.suffix != ".json" or says in err


HUGE = "1" + "0" * 400
BAD = ["NaN", "Infinity", "-Infinity", "1e400", HUGE, "1e10", "true", '"7"', "null", "[1]", "{}"]
"""No number of a box: not finite, out of reason, or another type."""


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("place_of", [0, 3])
@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("boxes.json", json.dumps(BOXES).replace("[1, 2, 10, 10]", "BOX"), "a.png"),
        ("truth.json", json.dumps(TRUTH).replace("[1, 2, 11, 12]", "BOX"), "a.png"),
        ("tracks.json", json.dumps(TRACKS).replace("[1, 2, 3, 4]", "BOX"), "row 0"),
        ("clip.json", "[BOX, null]", "frame 0"),
    ],
)
def test_numbers_that_are_none_end_with_3_and_name_the_image(
    place: Path, cli: Call, name: str, text: str, names: str, value: str, place_of: int
) -> None:
    box = ["1", "2", "10", "10"]
    box[place_of] = value
    (place / name).write_text(text.replace("BOX", f"[{', '.join(box)}]"))
    pair = ("tracks.json", "clip.json") if name in ("tracks.json", "clip.json") else ("boxes.json", "truth.json")
    code, out, err = cli("evaluate", *pair)
    assert (code, out) == (3, "")
    assert name in err
    assert names in err


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("truth.json", "[1, 2, 11, 12]", "[11, 2, 1, 12]"),  # x2 < x1
        ("truth.json", "[1, 2, 11, 12]", "[1, 12, 11, 2]"),
        ("boxes.json", "[1, 2, 10, 10]", "[1, 2, -10, 10]"),
        ("boxes.json", "0.75", "NaN"),
        ("boxes.json", "0.75", "true"),
        ("voc/a.xml", "<xmax>11", "<xmax>1"),
        ("voc/a.xml", "<xmax>11", "<xmax>inf"),
        ("voc/a.xml", "<xmax>11", "<xmax>1e400"),
        ("voc/a.xml", "<bndbox>", "<box>"),
        ("voc/a.xml", "<annotation>", '<?xml version="1.0" encoding="hex"?><annotation>'),  # known to Python, no text encoding
        ("voc/a.xml", "<annotation>", '<?xml version="1.0" encoding="no-such"?><annotation>'),
        ("voc/a.xml", "<annotation>", '<?xml version="1.0" encoding="utf-7"?><annotation>'),
        ("tracks.txt", "1,1,1,1,5,5", "1,1,1,1,-5,5"),
        ("tracks.txt", "1,1,1,1,5,5", "nan,1,1,1,5,5"),
        ("tracks.txt", "1,1,1,1,5,5", "inf,1,1,1,5,5"),
        ("tracks.txt", "1,1,1,1,5,5", "1,1e300,1,1,5,5"),
        ("tracks.txt", "1,2,20,20,5,5", "1,1,20,20,5,5"),  # an id twice in a frame
    ],
)
def test_boxes_that_are_none_end_with_3(place: Path, cli: Call, name: str, old: str, new: str) -> None:
    text = (place / name).read_text()
    assert old in text
    (place / name).write_text(text.replace(old, new, 1))
    pair = ("tracks.json", name) if name.endswith(".txt") else ("boxes.json", "voc" if name.startswith("voc") else "truth.json")
    code, out, err = cli("evaluate", *pair)
    assert (code, out) == (3, ""), err


def test_voc_that_is_nested_deeply_ends_with_3(place: Path, cli: Call) -> None:
    (place / "voc/a.xml").write_text("<a>" * 100_000 + "</a>" * 100_000)
    code, _, err = cli("evaluate", "boxes.json", "voc")
    assert code == 3
    assert "no annotation" in err


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", ["folder", "pipe", "nothing"])
def test_what_is_no_file_is_refused_and_not_waited_for(place: Path, cli: Call, which: int, kind: str) -> None:
    odd = place / "odd.json"
    if kind == "folder":
        odd.mkdir()
    elif kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes by name on this system")
        os.mkfifo(odd)
    pair: list[str] = ["boxes.json", "truth.json"]
    pair[which] = "odd.json"
    code, _, err = cli("evaluate", *pair)
    assert code == 3
    assert err.count("\n") == 1


def test_a_file_of_50_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with open(tmp_path / "sparse.json", "wb") as file:
        file.truncate(50 << 30)
    with pytest.raises(InputError, match=r"cannot read truth.*too large"):
        read_json(tmp_path / "sparse.json", "truth")
    (tmp_path / "small.json").write_text("[1]")
    with pytest.raises(InputError, match="3 bytes, at most 2"):
        read_file(tmp_path / "small.json", "truth", 2)
    with pytest.raises(InputError, match="cannot read truth"):
        read_file(tmp_path / "a\0b.json", "truth")  # a name that no system has


def test_memory_that_does_not_hold_a_file_ends_with_7(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise MemoryError

    (tmp_path / "a.json").write_text("[1]")
    monkeypatch.setattr(json_file.json, "loads", full)
    with pytest.raises(ResourceError, match="memory does not hold truth"):
        read_json(tmp_path / "a.json", "truth")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_case_J3_json_with_a_byte_order_mark_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_bytes('{"ü.png": [[1, 2, 3, 4]]}'.encode(encoding))
    assert read_json(tmp_path / "a.json", "truth") == {"ü.png": [[1, 2, 3, 4]]}


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(
    ["images", "annotations", "frames", "id", "image_id", "file_name", "bbox", "objects", "frame", "a.png", ""]
)
JSON = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(KEYS, v, max_size=4), max_leaves=12)


@st.composite
def spoilt(draw: st.DrawFn, good: Any) -> Any:
    """A good value in which one place, at any depth, is something else or gone."""
    if isinstance(good, dict) and good and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(good)))
        if not draw(st.integers(0, 9)):
            return {k: v for k, v in good.items() if k != key}
        return {**good, key: draw(spoilt(good[key]))}
    if isinstance(good, list) and good and draw(st.integers(0, 4)):
        place = draw(st.integers(0, len(good) - 1))
        return [*good[:place], draw(spoilt(good[place])), *good[place + 1 :]]
    return draw(JSON)


def _ends_well(predicted: str, truth: str) -> None:
    with suppress(InputError):
        evaluate(Path(predicted), Path(truth), json=True)


SLOWLY = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(("predicted", "truth"), [p for p in PAIRS if p[1] != "voc"])
@pytest.mark.parametrize("which", [0, 1])
@SLOWLY
@given(data=st.data())
def test_any_json_ends_in_a_result_or_an_error_of_input(
    place: Path, predicted: str, truth: str, which: int, data: st.DataObject
) -> None:
    name = (predicted, truth)[which]
    if name.endswith(".txt"):
        lines = data.draw(st.lists(st.lists(st.floats() | st.integers(-3, 3), min_size=5, max_size=11), max_size=4))
        text = "\n".join(",".join(map(str, line)) for line in lines)
    else:
        good = {"boxes.json": BOXES, "truth.json": TRUTH, "tracks.json": TRACKS, "clip.json": [[1, 2, 4, 6], None]}[name]
        text = json.dumps(data.draw(spoilt(good)))
    before = (place / name).read_bytes()
    (place / name).write_text(text)
    try:
        _ends_well(predicted, truth)
    finally:
        (place / name).write_bytes(before)


@pytest.mark.parametrize("name", ["boxes.json", "truth.json", "tracks.json", "clip.json", "tracks.txt", "voc/a.xml"])
def test_mutated_files_end_in_a_result_or_an_error_of_input(place: Path, name: str) -> None:
    good = (place / name).read_bytes()
    rng = random.Random(name)
    for _ in range(80):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at, step = rng.randrange(len(data)), rng.randrange(4)
            if step == 0:
                data[at] = rng.randrange(256)
            elif step == 1:
                del data[at : at + rng.randint(1, 8)]
            elif step == 2:
                data[at:at] = bytes(rng.choice(b'0123456789-eE.,[]{}"<>&/') for _ in range(rng.randint(1, 4)))
            else:
                data[at:at] = data[rng.randrange(len(data)) :]
            data = data or bytearray(b" ")
        (place / name).write_bytes(data)
        for predicted, truth in PAIRS:
            if name.split("/")[0] in (predicted, truth):
                _ends_well(predicted, truth)
