"""Many images on a processor: each thread looks at images of its own, and what is found is what one thread finds."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from stn_cli.coloc.model import many
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.model.many import localise_loaded, localise_many
from stn_cli.media.cache import Letterbox, load_letterbox
from stn_cli.media.decode import MAX_PIXELS
from stn_cli.media.scan import ImageFile, scan
from stn_cli.records import ImageRecord, Skipped
from tests.conftest import Trained

Loaded = Letterbox | Skipped


@pytest.fixture
def localiser(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Localiser:
    """It looks at three images in a call."""
    found = Localiser.load(trained.run, "cpu")
    monkeypatch.setattr(many, "PIXELS_PER_THREAD", 3 * found.letterbox**2 + 1)
    return found


def loaded(localiser: Localiser, trained: Trained) -> Iterator[Loaded]:
    """Twenty images, and two that are none among them."""
    files = list(scan(trained.images).images)
    for place in (0, 9):
        files.insert(place, ImageFile(str(trained.images / "none.png"), "none.png"))
    return (load_letterbox(file, localiser.letterbox, MAX_PIXELS) for file in files)


def boxes(found: list[tuple[Loaded, ImageRecord | Skipped]]) -> list[object]:
    return [record.objects[0].box if isinstance(record, ImageRecord) else record.reason for _, record in found]


def test_threads_find_what_one_finds(localiser: Localiser, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, real = list[tuple[int, str, int]](), Localiser.records

    def spy(self: Localiser, some: list[Letterbox]) -> list[ImageRecord]:
        seen.append((len(some), threading.current_thread().name, torch.get_num_threads()))
        return real(self, some)

    monkeypatch.setattr(Localiser, "records", spy)
    alone = list(localise_many(localiser, loaded(localiser, trained), None, 8))
    assert {name for _, name, _ in seen} == {"MainThread"}
    counts = [count for count, _, _ in seen]
    seen.clear()
    torch.set_num_threads(3)
    try:
        together = list(localise_many(localiser, loaded(localiser, trained), None, 8))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert boxes(together) == boxes(alone)
    assert [item.file.name for item, _ in together if isinstance(item, Letterbox)] == [
        file.name for file in scan(trained.images).images
    ]
    assert seen.pop(0)[:2] == (1, "MainThread")  # a look at nothing, at which what all threads share is made
    assert sorted(count for count, _, _ in seen) == sorted(counts)
    assert max(counts) == 3
    assert all(name.startswith("ordered") for _, name, _ in seen)
    assert {number for _, _, number in seen} == {1}


def test_calls_are_those_of_chunks_that_are_looked_at_elsewhere(
    localiser: Localiser, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Actors of a cluster are given whole chunks: the last bits of a record depend on the images of its call."""
    calls, real = list[list[str]](), Localiser.records

    def spy(self: Localiser, some: list[Letterbox]) -> list[ImageRecord]:
        calls.append([letterbox.file.name for letterbox in some])
        return real(self, some)

    monkeypatch.setattr(Localiser, "records", spy)
    here = [record for _, record in localise_many(localiser, loaded(localiser, trained), None, 8)]
    own, elsewhere = list(calls), list[ImageRecord | Skipped]()
    calls.clear()
    items = list(loaded(localiser, trained))
    for first in range(0, len(items), 8):
        elsewhere += localise_loaded(localiser, items[first : first + 8], None, 8)[0]
    assert calls == own
    assert here == elsewhere


def test_threads_are_as_before_when_nobody_reads_on(localiser: Localiser, trained: Trained) -> None:
    torch.set_num_threads(2)
    try:
        found = localise_many(localiser, loaded(localiser, trained), None, 8)
        for _ in range(6):
            next(found)
        found.close()  # type: ignore[attr-defined]
        assert torch.get_num_threads() == 2
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("ordered")]
    finally:
        torch.set_num_threads(1)


def test_errors_of_threads_are_raised_where_records_are_read(
    localiser: Localiser, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Localiser.records

    def failing(self: Localiser, some: list[Letterbox]) -> list[ImageRecord]:
        if threading.current_thread().name != "MainThread":
            raise RuntimeError("nothing of memory")
        return real(self, some)

    monkeypatch.setattr(Localiser, "records", failing)
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="nothing of memory"):
            list(localise_many(localiser, loaded(localiser, trained), None, 8))
    finally:
        torch.set_num_threads(1)


def test_what_did_not_fit_is_not_tried_again(localiser: Localiser, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, notes, real = list[int](), list[str](), Localiser.records

    def tight(self: Localiser, some: list[Letterbox]) -> list[ImageRecord]:
        tried.append(len(some))
        if len(some) > 1:
            raise torch.OutOfMemoryError("pretend")
        return real(self, some)

    monkeypatch.setattr(Localiser, "records", tight)
    images = [item for item in loaded(localiser, trained) if isinstance(item, Letterbox)]
    found, _ = localise_loaded(localiser, images[:5], None, 64, notes.append)
    assert len(found) == 5
    assert tried == [3, 1, 1, 1, 1, 1]  # a call has three at most, whatever the batch
    assert notes == ["out of memory: going on with batches of 1"]
