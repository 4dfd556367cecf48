"""Results folders: nothing that a person, or another call, put there is touched, and what is replaced is replaced whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stn_cli.errors import Interrupted, OutputError
from stn_cli.files import TEMPORARY, atomic, is_inside, safe_name
from stn_cli.outputs import moving as module
from stn_cli.outputs import places
from stn_cli.outputs.manifest import (
    MANIFEST,
    STAGING,
    STAGING_MARKER,
    Facts,
    is_staging,
    note_written,
    read_manifest,
    write_manifest,
    written_by_tool,
)
from stn_cli.outputs.results import Results
from stn_cli.runtime.stopping import GRACE, StopRequest
from tests.conftest import Trained, make_folder, make_image, write_image

Call = Callable[..., tuple[int, str, str]]
Start = Callable[[int, str], subprocess.CompletedProcess[str]]
NAMES = ("boxes.json", "crops")


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, folders with None."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def write(folder: Path, text: str, crops: tuple[str, ...] = ("a.png",), **options: bool) -> Results:
    results = Results(folder, "localise", NAMES, **options)
    with results.open() as work:
        (work / "boxes.json").write_text(text)
        for name in crops:
            (work / "crops" / name).parent.mkdir(parents=True, exist_ok=True)
            (work / "crops" / name).write_text(text)
    return results


def test_new_results_take_the_place_of_the_old_ones_and_of_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "o", "one", ("a.png", "deep/b.png"))
    assert written_by_tool(tmp_path / "o") == {"boxes.json": 3, "crops/a.png": 3, "crops/deep/b.png": 3}
    (tmp_path / "o/notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write(tmp_path / "o", "two")
    write(tmp_path / "o", "two", ("c.png",), overwrite=True)
    assert contents(tmp_path / "o") == {
        MANIFEST: (tmp_path / "o" / MANIFEST).read_bytes(),
        "boxes.json": b"two",
        "crops": None,
        "crops/c.png": b"two",
        "notes.txt": b"mine",
    }


def test_half_a_file_of_a_killed_call_does_not_come_into_the_results(tmp_path: Path) -> None:
    """It stood in no manifest: the next call took it for a person's file that is in the way."""
    results = Results(tmp_path / "o", "localise", NAMES)
    with pytest.raises(KeyboardInterrupt), results.open() as work:
        (work / "crops").mkdir()
        (work / "crops" / f"{TEMPORARY}half").write_text("ha")
        results.keep = True
        raise KeyboardInterrupt
    write(tmp_path / "o", "one", resume=True)
    assert sorted(contents(tmp_path / "o")) == [MANIFEST, "boxes.json", "crops", "crops/a.png"]
    write(tmp_path / "o", "two", overwrite=True)


# what is in the folder, and what is asked: refused, and nothing changes
FOREIGN = [
    ("a file at a wanted name", lambda o: (o / "boxes.json").write_text("mine"), "did not write it"),
    ("a file in a wanted folder", lambda o: write_image(o / "crops/mine.png", make_image(0)[0]), "did not write it"),
    ("a wanted folder is a link", lambda o: (o / "crops").symlink_to(o.parent), "did not write it"),
    (
        "an older version's marker lists nothing",
        lambda o: [(o / n).write_text("Made by") for n in (MANIFEST, "boxes.json")],
        "did not",
    ),
    ("somebody's folder of the name `unfinished`", lambda o: (o / STAGING).mkdir(), "of that name is in the way"),
]


@pytest.mark.parametrize(("fill", "words"), [row[1:] for row in FOREIGN], ids=[row[0] for row in FOREIGN])
def test_what_this_tool_did_not_write_stays(tmp_path: Path, fill: Callable[[Path], object], words: str) -> None:
    out = tmp_path / "o"
    out.mkdir()
    fill(out)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=words):
        write(out, "two", overwrite=True)
    assert contents(tmp_path) == before


def test_a_name_that_leads_back_is_the_folder_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        Results(tmp_path / "new" / "..", "localise", NAMES)


# what a person does to results that this tool wrote: it is theirs then
CHANGES = [
    ("corrects boxes by hand", lambda o: (o / "boxes.json").write_text("oNe"), "changed since"),
    ("puts a picture in the place of a crop", lambda o: write_image(o / "crops/a.png", make_image(0)[0]), "changed since"),
    (
        "empties the folder and leaves the hidden list",
        lambda o: [(o / "boxes.json").unlink(), (o / "boxes.json").write_text("mine")],
        "changed",
    ),
]


@pytest.mark.parametrize(("change", "words"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_what_a_person_changed_is_theirs(tmp_path: Path, change: Callable[[Path], object], words: str) -> None:
    write(tmp_path / "o", "one")
    change(tmp_path / "o")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=words):
        write(tmp_path / "o", "two", overwrite=True)
    assert contents(tmp_path) == before


def test_a_copied_folder_is_still_this_tools(tmp_path: Path) -> None:
    write(tmp_path / "o", "one")
    shutil.copytree(tmp_path / "o", tmp_path / "copy", copy_function=shutil.copyfile)  # other times, the same content
    write(tmp_path / "copy", "two", overwrite=True)
    assert (tmp_path / "copy/crops/a.png").read_text() == "two"


def test_a_persons_folders_among_the_results_stay(tmp_path: Path) -> None:
    write(tmp_path / "o", "one")
    (tmp_path / "o/crops/mine").mkdir()
    write(tmp_path / "o", "two", overwrite=True)
    assert (tmp_path / "o/crops/mine").is_dir()
    assert (tmp_path / "o/crops/a.png").read_text() == "two"


def test_a_file_that_comes_while_a_call_works_is_in_the_way_of_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "o", "one")
    results = Results(tmp_path / "o", "localise", NAMES, overwrite=True)
    with pytest.raises(OutputError, match=r"has come in the way.*would discard them"), results.open() as work:
        (work / "boxes.json").write_text("two")
        (tmp_path / "o/boxes.json").write_text("mine")
    assert (tmp_path / "o/boxes.json").read_text() == "mine"
    assert (tmp_path / "o/crops/a.png").read_text() == "one"  # nothing was removed


def test_another_commands_unfinished_work_is_neither_replaced_nor_gone_on_with(tmp_path: Path) -> None:
    results = Results(tmp_path / "o", "train", ("state.pt",))
    with pytest.raises(ValueError, match="killed"), results.open() as work:
        (work / "state.pt").write_text("hours")
        results.keep = True
        raise ValueError("killed")
    for flags in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(OutputError, match="an unfinished train is there"):
            Results(tmp_path / "o", "localise", NAMES, **flags)
    assert (tmp_path / "o" / STAGING / "state.pt").read_text() == "hours"


# what a stranger put into an unfinished folder
STRANGE = [
    ("a link to a folder", lambda s, v: (s / "crops").symlink_to(v)),
    ("a link to a file", lambda s, v: (s / "boxes.json").symlink_to(v / "a.png")),
    ("a pipe", lambda s, v: os.mkfifo(s / "records.jsonl")),
]


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
@pytest.mark.parametrize("put", [row[1] for row in STRANGE], ids=[row[0] for row in STRANGE])
def test_an_unfinished_folder_of_a_stranger_leads_nowhere(tmp_path: Path, put: Callable[[Path, Path], object]) -> None:
    staging, victim = tmp_path / "o" / STAGING, tmp_path / "victim"
    staging.mkdir(parents=True)
    victim.mkdir()
    (victim / "a.png").write_text("mine")
    (staging / STAGING_MARKER).write_text("localise\n")
    put(staging, victim)
    with pytest.raises(OutputError, match="no plain file"):
        Results(tmp_path / "o", "localise", NAMES, resume=True)
    assert contents(victim) == {"a.png": b"mine"}


def test_an_unfinished_folder_that_is_a_link_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "real" / STAGING).mkdir(parents=True)
    (tmp_path / "real" / STAGING / STAGING_MARKER).write_text("localise\n")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / STAGING).symlink_to(tmp_path / "real" / STAGING)
    with pytest.raises(OutputError, match="of that name is in the way"):
        Results(tmp_path / "o", "localise", NAMES, overwrite=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to oneself")
def test_a_signal_does_not_cut_the_last_step_in_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is slower here than anybody waits for a look whether to stop."""
    real = module.remove_written

    def slow(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        end = time.monotonic() + GRACE + 0.4
        while time.monotonic() < end:
            time.sleep(0.01)
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "remove_written", slow)
    with pytest.raises(Interrupted), StopRequest():
        write(tmp_path / "o", "one")
    assert (tmp_path / "o/boxes.json").read_text() == "one"
    assert sorted(os.listdir(tmp_path / "o")) == [MANIFEST, "boxes.json", "crops"]


def test_folders_are_known_whatever_they_are_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is mounted twice, or spelt otherwise where case does not count: two names, one identity."""
    (tmp_path / "photos/deep").mkdir(parents=True)
    (tmp_path / "Photos").mkdir()
    real = places.inode_of

    def same(path: str) -> tuple[int, int]:
        return real(path.replace(str(tmp_path / "Photos"), str(tmp_path / "photos")))

    monkeypatch.setattr(places, "inode_of", same)
    with pytest.raises(OutputError, match="made from"):
        Results(tmp_path / "Photos", "localise", NAMES, [tmp_path / "photos/deep"], overwrite=True)


def test_another_commands_results_are_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "o", "one")
    with pytest.raises(OutputError, match="holds results of localise, not of track"):
        Results(tmp_path / "o", "track", ("tracks.json",), overwrite=True)


@pytest.mark.parametrize("phase", ["writing", "whole", "cleared", "moving"])
def test_a_call_that_is_cut_off_leaves_old_or_new_results_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    """Cut off at every step; the next call finishes what was whole."""
    out = tmp_path / "o"
    write(out, "one", ("a.png",))
    real = os.replace

    def cut(name: str) -> Callable[..., None]:
        def replace(source: object, target: object) -> None:
            if os.path.basename(str(source)) == name:
                raise KeyboardInterrupt
            real(source, target)  # type: ignore[type-var]

        return replace

    def removing(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if phase == "whole":
            patch.setattr(module, "remove_written", removing)
        elif phase != "writing":
            patch.setattr(os, "replace", cut(".whole" if phase == "cleared" else "crops"))
        with Results(out, "localise", NAMES, overwrite=True).open() as work:
            (work / "boxes.json").write_text("two")
            (work / "crops").mkdir()
            (work / "crops/b.png").write_text("two")
            if phase == "writing":
                raise KeyboardInterrupt
    if phase == "writing":
        assert (out / "boxes.json").read_text() == "one"
        assert not (out / STAGING).exists()
        return
    with pytest.raises(OutputError, match="holds results of localise"):
        Results(out, "track", ("tracks.json",), overwrite=True)  # whose command it was is known
    assert (out / "boxes.json").read_text() == "two"  # whoever came next finished it
    with Results(out, "localise", NAMES, overwrite=True).open() as work:
        assert contents(out / "crops") == {"b.png": b"two"}
        (work / "boxes.json").write_text("three")
    assert written_by_tool(out) == {"boxes.json": 5}


def test_a_failed_call_leaves_no_trace_unless_there_is_something_to_keep(tmp_path: Path) -> None:
    for keep in (False, True):
        results = Results(tmp_path / "o", "localise", NAMES)
        with pytest.raises(ValueError, match="broken"), results.open() as work:
            (work / "boxes.json").write_text("half")
            results.keep = keep
            raise ValueError("broken")
        assert (tmp_path / "o").exists() == keep
    assert (tmp_path / "o" / STAGING / "boxes.json").read_text() == "half"
    with pytest.raises(OutputError, match="unfinished localise is there"):
        Results(tmp_path / "o", "localise", NAMES)
    write(tmp_path / "o", "whole", overwrite=True)
    assert not (tmp_path / "o" / STAGING).exists()


def test_case_V_an_empty_beginning_is_as_good_as_none(tmp_path: Path) -> None:
    staging = tmp_path / "o" / STAGING
    staging.mkdir(parents=True)
    (staging / STAGING_MARKER).write_text("train\n")
    (staging / "config.toml").write_text("steps = 3\n")
    (staging / (TEMPORARY + "x")).write_text("half")
    results = Results(tmp_path / "o", "train", ("config.toml",), beginnings=frozenset(["config.toml"]))
    with results.open() as work:
        assert os.listdir(work) == [STAGING_MARKER]


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_two_calls_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Results(tmp_path / "o", "localise", NAMES).open() as work:
        (work / "boxes.json").write_text("first")
        with (
            pytest.raises(OutputError, match="another call is writing there"),
            Results(tmp_path / "o", "localise", NAMES, overwrite=True).open(),
        ):
            pass
    assert (tmp_path / "o/boxes.json").read_text() == "first"


def test_a_strangers_manifest_reaches_nothing_outside(tmp_path: Path) -> None:
    """Absolute names, `..`, and names that lead through a link are not removed."""
    out = tmp_path / "o"
    write(out, "one")
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_text("mine")
    shutil.rmtree(out / "crops")
    (out / "link").symlink_to(tmp_path / "photos")
    leading = [
        "../precious.txt",
        str(tmp_path / "precious.txt"),
        "..\\precious.txt",
        "C:\\precious.txt",
        "x/../../precious.txt",
    ]
    facts = {"link/a.png": Facts.of(tmp_path / "photos/a.png")} | dict.fromkeys(leading, Facts.of(tmp_path / "precious.txt"))
    write_manifest(out / MANIFEST, "localise", read_manifest(out).files | facts)
    write(out, "two", overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"
    assert (tmp_path / "photos/a.png").read_text() == "mine"


# neither JSON nor a manifest of this version
NO_MANIFEST = [b"", b"\xff\xfe", b"[1]\na", b'{"tool": "stn-coloc"}\na', b"[" * 100_000, b'{"tool": "x", "manifest": 1}\na']


@pytest.mark.parametrize("content", NO_MANIFEST)
def test_a_manifest_that_is_none_lists_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    assert read_manifest(tmp_path).files == {}


def test_a_file_that_comes_later_is_listed(tmp_path: Path) -> None:
    write(tmp_path / "o", "one")
    (tmp_path / "o" / "r\u00e9port\n.html").write_text("page")
    note_written(tmp_path / "o", "r\u00e9port\n.html")
    assert "r\u00e9port\n.html" in written_by_tool(tmp_path / "o")
    note_written(tmp_path, "x")
    assert not (tmp_path / MANIFEST).exists()  # a folder without a manifest stays without


# ---- sources and results apart


# source, out, made link: below one folder that holds images/, and boxes/ with earlier results
APART = [
    ("the source is the results' folder", "boxes", "boxes"),
    ("the source lies in it", "boxes/crops", "boxes"),
    ("a file lies in it", "boxes/crops/000.png.png", "boxes"),
    ("a glob's files lie in it", "boxes/crops/*.png", "boxes"),
    ("a link to it", "link-to-crops", "boxes"),
    ("out is a link to the source", "images", "link-to-images"),
    ("a linked image lies in it", "linked", "boxes"),
    ("the results would lie in the source", "images", "images/boxes"),
    ("the same, deep and not there yet", "images", "images/deep/er/boxes"),
    ("the same through a link", "images", "link-to-images/boxes"),
]


@pytest.fixture(scope="module")
def earlier(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from stn_cli.jobs.localise import localise_source
    from stn_cli.jobs.localise_options import LocaliseOptions

    folder = tmp_path_factory.mktemp("apart")
    make_folder(folder, 3)
    localise_source(folder / "images", trained.run, folder / "boxes", LocaliseOptions(crops=True))
    (folder / "link-to-crops").symlink_to(folder / "boxes/crops")
    (folder / "link-to-images").symlink_to(folder / "images")
    (folder / "linked").mkdir()
    (folder / "linked/a.png").symlink_to(folder / "boxes/crops/000.png.png")
    return folder


@pytest.mark.parametrize(("source", "out"), [row[1:] for row in APART], ids=[row[0] for row in APART])
@pytest.mark.parametrize("command", ["localise", "train"])
def test_sources_and_results_are_kept_apart(
    cli: Call, trained: Trained, earlier: Path, source: str, out: str, command: str
) -> None:
    before = contents(earlier)
    model = ["-m", trained.run] if command == "localise" else []
    code, _, err = cli(command, earlier / source, *model, "-o", earlier / out, "--overwrite", "-q")
    assert code == 4, err
    assert "made from" in err
    assert len(err.splitlines()) == 1
    assert contents(earlier) == before


def test_a_run_is_not_replaced_by_what_it_finds(cli: Call, trained: Trained) -> None:
    before = contents(trained.run)
    for command, source in (("localise", trained.images), ("track", trained.images)):
        code, _, err = cli(command, source, "-m", trained.run, "-o", trained.run, "--overwrite", "-q")
        assert code == 4, err
    assert contents(trained.run) == before


def test_images_beside_the_results_may_be_named_one_by_one(cli: Call, trained: Trained, tmp_path: Path) -> None:
    make_folder(tmp_path, 3)
    code, _, err = cli("localise", tmp_path / "images/*.png", "-m", trained.run, "-o", tmp_path / "images/boxes", "-q")
    assert code == 0, err


# what is wrong, and the code: the earlier results stay as they were
WRONG = [
    ("no such run", ["-m", "typo"], 5),
    ("no such source", ["SOURCE", "nowhere"], 3),
    ("no such device", ["--device", "cuda:99"], 7),
    ("nothing usable in the source", ["SOURCE", "texts"], 3),
    ("an unknown format", ["--format", "cubism"], 2),
]


@pytest.mark.parametrize(("change", "code"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_everything_is_checked_before_an_earlier_result_goes(
    cli: Call, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path, 2)
    (tmp_path / "texts").mkdir()
    for n in range(3):
        (tmp_path / f"texts/{n}.jpg").write_text("no image")
    assert cli("localise", "images", "-m", trained.run, "-o", "boxes", "--crops", "-q")[0] == 0
    before = contents(tmp_path / "boxes")
    source, model = "images", str(trained.run)
    if change[0] == "SOURCE":
        source, change = change[1], []
    elif change[0] == "-m":
        model, change = change[1], []
    got, _, err = cli("localise", source, "-m", model, "-o", "boxes", "--overwrite", "-q", *change)
    assert got == code, err
    assert contents(tmp_path / "boxes") == before


# ---- names


# a name in a list, and whether it stays below the folder that it is joined to
LEADING_OUT = [
    "/etc/passwd.png", "../x.png", "a/../../x.png", "..\\x.png", "a\\..\\..\\x.png", "C:\\x.png", "C:x.png", "\\\\host\\x.png", "..", "",
    "x\0.png",
]  # fmt: skip


@pytest.mark.parametrize("name", LEADING_OUT)
def test_names_never_lead_out_of_the_folder(name: str) -> None:
    assert not is_inside(name)
    made = safe_name(name, ".jpg")
    assert is_inside(made)
    assert made.endswith(".jpg")
    assert made != safe_name(name + "y", ".jpg")


@pytest.mark.parametrize("name", ["a.png", "a/b.png", "..a.png", "a..b/c.png", "a\\b.png", "-dash.png", "é.png"])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert is_inside(name)
    assert safe_name(name, ".jpg") == name + ".jpg"


def test_a_strangers_run_writes_nothing_outside(cli: Call, trained: Trained, tmp_path: Path) -> None:
    """Its images.txt names images outside of the folder that it says they are relative to."""
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(trained.images / "000.png", tmp_path / "elsewhere/a.png")
    (run / "images.txt").write_text(f"# relative to {tmp_path}/images/\n{tmp_path}/elsewhere/a.png\n")
    before = contents(tmp_path)
    code, _, err = cli("localise", "-m", run, "-o", tmp_path / "out", "--crops", "--overlay", "-q")
    assert code in (0, 5), err
    after = contents(tmp_path)
    assert {k: v for k, v in after.items() if not k.startswith("out")} == before


# ---- writing


def test_files_have_the_rights_of_any_other_file_and_the_umask_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask was set"))
        with atomic(tmp_path / "a.bin") as file:
            file.write(b"x")
        assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640
    finally:
        monkeypatch.undo()
        os.umask(before)


def test_the_disk_is_not_waited_for_once_a_picture(
    cli: Call, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (waited.append(handle), real(handle))[1])
    assert cli("localise", trained.images, "-m", trained.run, "-o", tmp_path / "o", "--crops", "--overlay", "-q")[0] == 0
    pictures = len(list((tmp_path / "o").rglob("*.png"))) + len(list((tmp_path / "o").rglob("*.jpg")))
    assert pictures == 40
    assert 3 <= len(waited) <= 12  # boxes.json, skipped.jsonl, manifest, and each folder once


def test_staging_is_known_by_its_marker(tmp_path: Path) -> None:
    (tmp_path / STAGING).mkdir()
    assert not is_staging(tmp_path / STAGING)
    (tmp_path / STAGING / STAGING_MARKER).write_text("x")
    assert is_staging(str(tmp_path / STAGING))


# ---- going on


@pytest.fixture
def many(tmp_path: Path) -> Path:
    make_folder(tmp_path, 17)
    (tmp_path / "images/005.png").write_bytes(b"no image")
    return tmp_path / "images"


FLAGS = ["--batch", "4", "--crops", "--overlay", "--format", "csv", "-q"]


def killing(at: int, signum: str) -> str:
    """A program that gets a signal when the n-th record is written."""
    return (
        "import os, signal, sys; from stn_cli.formats import journal; from stn_cli.cli.app import run\n"
        "real = journal.Journal.add\n"
        "def add(self, item):\n"
        f"    real(self, item)\n    if len(self.names) == {at}: os.kill(os.getpid(), signal.{signum})\n"
        "journal.Journal.add = add\nsys.exit(run(sys.argv[1:]))"
    )


@pytest.fixture
def killed(many: Path, trained: Trained, tmp_path: Path) -> Start:
    def start(at: int, signum: str) -> subprocess.CompletedProcess[str]:
        arguments = ["localise", str(many), "-m", str(trained.run), "-o", str(tmp_path / "o"), *FLAGS]
        return subprocess.run(
            [sys.executable, "-c", killing(at, signum), *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return start


@pytest.mark.parametrize(
    ("at", "signum", "code"),
    [(3, "SIGKILL", -9), (10, "SIGKILL", -9), (17, "SIGKILL", -9), (9, "SIGINT", 130), (9, "SIGTERM", 143)],
)
def test_localise_goes_on_to_the_same_bytes(
    killed: Start,
    cli: Call,
    many: Path,
    trained: Trained,
    tmp_path: Path,
    at: int,
    signum: str,
    code: int,
) -> None:
    done = killed(at, signum)
    assert done.returncode == code, done.stderr
    out = tmp_path / "o"
    assert not (out / "boxes.json").exists()
    if signum != "SIGKILL":
        assert "go on with --resume" in done.stderr
        half = json.loads((out / STAGING / "boxes.json").read_text())
        assert len(half["images"]) == 8  # nine were looked at, one of them is no image
    else:
        assert cli("localise", many, "-m", trained.run, "-o", out, *FLAGS)[0] == 4
    code_again, _, err = cli("localise", many, "-m", trained.run, "-o", out, "--resume", *FLAGS)
    assert code_again == 0, err
    assert cli("localise", many, "-m", trained.run, "-o", tmp_path / "whole", *FLAGS)[0] == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_braces_in_the_name_of_a_folder_are_no_places_to_fill(many: Path, trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "of {one} {0} {}"
    arguments = ["localise", str(many), "-m", str(trained.run), "-o", str(out), *FLAGS]
    done = subprocess.run([sys.executable, "-c", killing(9, "SIGINT"), *arguments], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert f"Done: 8 of 17 images, in {out / STAGING}; go on with --resume" in done.stderr


def test_a_resume_does_only_what_is_missing(
    killed: Start,
    many: Path,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Call,
) -> None:
    from stn_cli.coloc.model.localiser import Localiser

    killed(10, "SIGKILL")
    seen: list[str] = []
    real = Localiser.localise_files
    monkeypatch.setattr(
        Localiser,
        "localise_files",
        lambda self, files, **options: (seen.extend(f.name for f in files), real(self, files, **options))[1],
    )
    assert cli("localise", many, "-m", trained.run, "-o", tmp_path / "o", "--resume", *FLAGS)[0] == 0
    assert seen == [f"{n:03d}.png" for n in range(8, 17)]  # whole batches of four were kept


@pytest.mark.parametrize("phase", [".whole", "crops", MANIFEST])
def test_a_call_that_was_killed_in_its_last_step_is_finished_by_resume(
    cli: Call, many: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    real = os.replace

    def replace(source: object, target: object) -> None:
        if os.path.basename(str(source)) == phase and STAGING in str(source):
            raise KeyboardInterrupt
        real(source, target)  # type: ignore[type-var]

    out = tmp_path / "o"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        assert cli("localise", many, "-m", trained.run, "-o", out, *FLAGS)[0] == 130
    code, said, err = cli("localise", many, "-m", trained.run, "-o", out, "--resume", "--json", *FLAGS)
    assert code == 0, err
    assert json.loads(said)["images"] == 16
    assert cli("localise", many, "-m", trained.run, "-o", tmp_path / "whole", *FLAGS)[0] == 0
    assert contents(out) == contents(tmp_path / "whole")
    code, _, err = cli("localise", many, "-m", trained.run, "-o", out, "--resume", *FLAGS)
    assert code == 5
    assert "its results are whole" in err


def test_formats_of_the_part_that_was_found_first_do_not_stay(
    killed: Start, cli: Call, many: Path, trained: Trained, tmp_path: Path
) -> None:
    killed(9, "SIGINT")
    assert (tmp_path / "o" / STAGING / "boxes.csv").is_file()
    flags = [flag for flag in FLAGS if flag not in ("--format", "csv")]
    assert cli("localise", many, "-m", trained.run, "-o", tmp_path / "o", "--resume", *flags)[0] == 0
    assert not (tmp_path / "o/boxes.csv").exists()


# what is different in the second call, and what is said
OTHERWISE = [
    ("another batch", lambda d, flags: [*flags, "--batch", "8"], 5, "made otherwise"),
    ("an image is gone", lambda d, flags: ((d / "images/001.png").unlink(), flags)[1], 5, "made otherwise"),
    (
        "an image has come",
        lambda d, flags: (shutil.copy(d / "images/001.png", d / "images/zzz.png"), flags)[1],
        5,
        "made otherwise",
    ),
    ("nothing to resume", lambda d, flags: (shutil.rmtree(d / "o"), flags)[1], 5, "nothing to resume"),
    ("garbage", lambda d, flags: ((d / "o" / STAGING / "records.jsonl").write_text("x\n"), flags)[1], 5, "damaged records"),
    ("both", lambda d, flags: [*flags, "--overwrite"], 2, "--resume goes on with"),
]


@pytest.mark.parametrize(("change", "code", "words"), [row[1:] for row in OTHERWISE], ids=[row[0] for row in OTHERWISE])
def test_what_cannot_be_gone_on_with(
    killed: Start,
    cli: Call,
    many: Path,
    trained: Trained,
    tmp_path: Path,
    change: Callable[[Path, list[str]], list[str]],
    code: int,
    words: str,
) -> None:
    killed(6, "SIGKILL")
    flags = change(tmp_path, FLAGS)
    before = contents(tmp_path)
    got, _, err = cli("localise", many, "-m", trained.run, "-o", tmp_path / "o", "--resume", *flags)
    assert got == code, err
    assert words in err
    assert contents(tmp_path) == before
