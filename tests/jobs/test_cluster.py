"""`localise --engine ray` on a cluster of two nodes on this machine: the same records, each image once, whatever happens to workers."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stn_cli.errors import CheckpointError, Interrupted, OutputError, ResourceError, UsageError
from stn_cli.formats.coco import read_coco
from stn_cli.formats.parquet_file import read_shards
from stn_cli.formats.shards import Outcome, ShardFolder
from stn_cli.jobs.cluster import joining, target
from stn_cli.jobs.cluster.engine import ClusterOptions, localise_on_cluster
from stn_cli.jobs.cluster.finding import FindingActor
from stn_cli.jobs.cluster.joining import Room, spread
from stn_cli.jobs.cluster.source import ClusterSource
from stn_cli.jobs.cluster.target import opened_target
from stn_cli.jobs.cluster.work import ENDED
from stn_cli.jobs.localise import localise_source
from stn_cli.jobs.localise_options import LocaliseOptions
from stn_cli.records import ImageRecord, PixelBox
from stn_cli.runtime.progress import Silent
from tests.conftest import Trained, make_image, write_image

ray = pytest.importorskip("ray", reason="pip install ray[data]")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]
STORE = 80 << 20
BATCH = LocaliseOptions(batch=3)


@dataclass
class Machines:
    """A cluster of a head without processors and of nodes that can go."""

    cluster: Any

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=2, object_store_memory=STORE)

    @property
    def address(self) -> str:
        return str(self.cluster.address)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """The package is on the workers' path because they are started with this process's."""
    from ray.cluster_utils import Cluster

    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, before["PYTHONPATH"]]))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    )
    machines = Machines(cluster)
    machines.add()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="CRITICAL")
    yield machines
    ray.shutdown()
    cluster.shutdown()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    gc.collect()  # what Ray left open is closed here, where it is no error


@pytest.fixture(scope="module")
def images(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images in two folders, and a file that is none."""
    folder = tmp_path_factory.mktemp("many") / "images"
    for n in range(12):
        write_image(folder / ("a" if n % 2 else "b") / f"{n:02d}.png", make_image(100 + n)[0])
    (folder / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    return folder


@pytest.fixture(scope="module")
def local(trained: Trained, images: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ImageRecord]:
    """What one machine finds."""
    out = tmp_path_factory.mktemp("local") / "out"
    localise_source(images, trained.run, out, BATCH, device="cpu")
    return read_coco(out / "boxes.json")


def as_json_has_them(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Every bit of every number, but that COCO has a box's sides in place of its far corner: their sum may end in another bit."""

    def told(box: PixelBox) -> PixelBox:
        x1, y1, x2, y2 = box
        return x1, y1, x1 + (x2 - x1), y1 + (y2 - y1)

    return [replace(r, objects=tuple(replace(o, box=told(o.box)) for o in r.objects)) for r in records]


def on_cluster(images: Any, run: Path, out: Any, cluster: ClusterOptions | None = None, **how: Any) -> Any:
    return localise_on_cluster(images, run, out, BATCH, cluster or ClusterOptions(concurrency=1), device="cpu", **how)


def test_many_machines_find_what_one_finds(
    machines: Machines, trained: Trained, images: Path, local: list[ImageRecord], tmp_path: Path,
    cli: Callable[..., tuple[int, str, str]],
) -> None:  # fmt: skip
    machines.add()
    out = tmp_path / "out"
    flags = ("--engine", "ray", "--concurrency", 3, "--batch", 3, "--device", "cpu", "--address", machines.address)
    code, said, heard = cli("localise", images, "-m", trained.run, "-o", out, *flags)
    assert (code, said) == (0, f"{out / 'boxes.parquet'}\n")
    assert "1 skipped: 1 truncated" in heard or "1 skipped" in heard
    found = read_shards(out)
    assert as_json_has_them(found.records) == local  # every bit of every number, and the order of the source
    assert found.source == str(images)
    assert "a/broken.png" in (out / "skipped.jsonl").read_text()
    # what comes out is what export takes
    code, said, _ = cli("export", out, "--format", "csv", "-o", tmp_path / "set")
    assert code == 0
    assert (tmp_path / "set" / "boxes.csv").read_text().count("\n") == 1 + sum(len(r.objects) or 1 for r in local)
    # and shards that are there are not written over
    code, _, heard = cli("localise", images, "-m", trained.run, "-o", out, *flags)
    assert code == 4
    assert heard.count("\n") == 1


def test_workers_and_machines_that_die_cost_their_work_only(
    machines: Machines, trained: Trained, images: Path, local: list[ImageRecord], tmp_path: Path
) -> None:
    second = machines.add()
    marks = tmp_path / "marks"
    marks.mkdir()

    def load(file: Any, side: int, most: int, data: bytes | None = None) -> Any:
        from stn_cli.media.cache import load_letterbox

        if file.name == "b/04.png" and not (marks / "decoder").exists():
            (marks / "decoder").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return load_letterbox(file, side, most, data)

    class Mortal(FindingActor):
        def __call__(self, batch: Any) -> Any:
            if not (marks / "actor").exists():
                (marks / "actor").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch)

    class Removes(Silent):
        def advance(self, count: int = 1, note: str = "") -> None:
            if count and not (marks / "node").exists():
                (marks / "node").touch()
                machines.cluster.remove_node(second, allow_graceful=False)

    summary = on_cluster(
        images, trained.run, tmp_path / "out", ClusterOptions(concurrency=2, load=load, actor=Mortal), reporter=Removes()
    )
    assert {path.name for path in marks.iterdir()} == {"decoder", "actor", "node"}
    assert (summary.images, len(summary.skipped)) == (12, 1)
    assert as_json_has_them(read_shards(tmp_path / "out").records) == local


def test_a_poisoned_image_is_a_skipped_row(machines: Machines, trained: Trained, images: Path, tmp_path: Path) -> None:
    def load(file: Any, side: int, most: int, data: bytes | None = None) -> Any:
        from stn_cli.media.cache import load_letterbox

        if file.name == "a/03.png":
            os.kill(os.getpid(), signal.SIGKILL)
        if file.name == "a/05.png":
            raise ZeroDivisionError("of a decoder")
        return load_letterbox(file, side, most, data)

    summary = on_cluster(images, trained.run, tmp_path / "out", ClusterOptions(concurrency=1, load=load))
    why = {row.file: row.reason for row in summary.skipped}
    assert why["a/03.png"] == ENDED
    assert why["a/05.png"] == "cannot be decoded: ZeroDivisionError: of a decoder"
    assert sorted(r.file for r in read_shards(tmp_path / "out").records) == sorted(
        f"{folder}/{n:02d}.png" for n in range(12) if n not in (3, 5) for folder in ("a" if n % 2 else "b",)
    )


def test_a_second_start_does_only_what_is_missing(
    machines: Machines, trained: Trained, images: Path, local: list[ImageRecord], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()

    def load(file: Any, side: int, most: int, data: bytes | None = None) -> Any:
        from stn_cli.media.cache import load_letterbox

        (seen / file.name.replace("/", "-")).touch()
        return load_letterbox(file, side, most, data)

    class Stops(Silent):
        done = 0

        def advance(self, count: int = 1, note: str = "") -> None:
            self.done += count
            if self.done >= 6:
                raise Interrupted(signal.SIGTERM)

    out, options = tmp_path / "out", ClusterOptions(concurrency=1, load=load, shard_images=3)
    with pytest.raises(Interrupted) as stopped:
        on_cluster(images, trained.run, out, options, reporter=Stops())
    done = int(re.findall(r"Done: (\d+) of 13 images; go on with --resume$", stopped.value.line())[0])
    assert done in (6, 7)  # chunks of three, and one of a single image, in the order in which they come
    assert len(list((out / "unfinished" / "boxes.parquet").glob("part-*"))) == 2
    with pytest.raises(OutputError, match="an unfinished localise is there"):
        on_cluster(images, trained.run, out, options)
    with pytest.raises(CheckpointError, match=r"made otherwise.*min_score"):
        localise_on_cluster(images, trained.run, out, LocaliseOptions(0.5, batch=3), options, resume=True, device="cpu")
    shutil.rmtree(seen)
    seen.mkdir()
    summary = on_cluster(images, trained.run, out, options, resume=True)
    assert (summary.resumed, summary.images, len(summary.skipped)) == (done, 12, 1)
    assert len(list(seen.iterdir())) == 13 - done
    assert as_json_has_them(read_shards(out).records) == local


def test_parquet_and_object_stores(
    machines: Machines, trained: Trained, images: Path, local: list[ImageRecord], tmp_path: Path
) -> None:
    """`file://` is the object store that every machine has."""
    import pyarrow
    import pyarrow.parquet

    out = f"file://{tmp_path}/out"
    on_cluster(f"file://{images}", trained.run, out)
    assert as_json_has_them(read_shards(tmp_path / "out").records) == local
    assert "a/broken.png" in (tmp_path / "out" / "skipped.jsonl").read_text()
    with pytest.raises(OutputError, match="output shards are there already"):
        on_cluster(f"file://{images}", trained.run, out)

    names = [r.file for r in local]
    rows = {"image": [{"bytes": (images / n).read_bytes(), "path": n} for n in names], "label": [1] * len(names)}
    (tmp_path / "set").mkdir()
    pyarrow.parquet.write_table(pyarrow.table(rows).slice(0, 7), tmp_path / "set" / "0.parquet", row_group_size=4)
    pyarrow.parquet.write_table(pyarrow.table(rows).slice(7), tmp_path / "set" / "1.parquet")
    on_cluster(tmp_path / "set", trained.run, tmp_path / "of_bytes")
    of_bytes = read_shards(tmp_path / "of_bytes").records
    assert [r.file for r in of_bytes] == names  # chunks are cut otherwise, so that last bits may differ
    assert [len(r.objects) for r in of_bytes] == [len(r.objects) for r in local]

    paths = {"key": ["x"] * 3, "where": [str(images / names[0]), str(images / "gone.png"), None]}
    pyarrow.parquet.write_table(pyarrow.table(paths), tmp_path / "paths.parquet")
    found = on_cluster(tmp_path / "paths.parquet", trained.run, tmp_path / "of_paths", ClusterOptions(None, 1, "where"))
    assert (found.images, sorted(row.reason for row in found.skipped)) == (1, ["empty", "vanished"])


def test_machines_with_another_version_are_refused(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "__version__", "0.0")
    with pytest.raises(ResourceError, match=r"differs on a machine of the cluster.*this is 0\.0"), joining.joined(None):
        pass


@pytest.mark.parametrize("patient", [True, False])
def test_a_machine_that_has_just_gone_is_asked_for_nothing(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    real, asked = ray.get, list[int]()

    def get(answers: Any, timeout: float) -> Any:
        asked.append(len(answers))
        if len(asked) == 1:
            raise ray.exceptions.TaskUnschedulableError("the node does not exist any more")
        return real(answers, timeout=timeout)

    monkeypatch.setattr(ray, "get", get)
    if patient:
        joining.check_machines(ray)  # once more, of those that are there now
    else:
        monkeypatch.setattr(joining, "LOOK_AROUND", -1)
        with pytest.raises(ResourceError, match=r"the cluster does not answer.*does not exist any more"):
            joining.check_machines(ray)
    assert len(asked) == 1 + patient


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["-", "--engine", "ray"], 2, "cannot read paths from standard input"),
        (["{images}", "--engine", "spark"], 2, "unknown --engine"),
        (["{images}", "--address", "auto"], 2, "--address is of a cluster"),
        (["{images}", "-o", "s3://bucket/out"], 2, "Add --engine ray"),
        (["{images}", "--engine", "ray", "--crops"], 2, "writes Parquet only"),
        (["{images}", "--engine", "ray", "--column", "image"], 2, "--column is of a Parquet file"),
        (["{images}", "--engine", "ray", "--concurrency", "0"], 2, "--concurrency must be"),
        (["nope://x/y", "--engine", "ray"], 3, "no usable object store"),
        (["nope://KEY:SECRET@x/y", "--engine", "ray"], 3, "no usable object store: 'nope://***@x/y'"),
        (["file:///there/is/none", "--engine", "ray"], 3, "no such file or folder"),
        (["{images}", "--engine", "ray", "--address", "127.0.0.1:1"], 7, "cannot join the cluster"),
        (["{images}", "--engine", "ray", "--address", "nowhere"], 7, "an address is HOST:PORT"),
        (["{images}", "--engine", "ray", "--resume"], 5, "nothing to resume"),
    ],
)
def test_bad_input_ends_in_one_line(
    flags: list[str], code: int, says: str, trained: Trained, tmp_path: Path, cli: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    given = [flag.format(images=trained.images) for flag in flags]
    out = [] if "-o" in given else ["-o", tmp_path / "out"]
    ended, _, heard = cli("localise", *given, "-m", trained.run, *out)
    assert (ended, heard.count("\n")) == (code, 1)
    assert says in heard
    assert "SECRET" not in heard
    assert not (tmp_path / "out").exists()


def test_a_store_that_refuses_is_an_error_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 says it with an OSError, Google's store with an exception of pyarrow's own."""
    import pyarrow

    class Store:
        def get_file_info(self, _: object) -> list[object]:
            return []

        def create_dir(self, _: str) -> None:
            raise pyarrow.ArrowInvalid("missing project id")

        open_output_stream = create_dir

    monkeypatch.setattr(target, "store_of", lambda _: (Store(), "bucket/out"))
    wanted = opened_target("gs://KEY@bucket/out", "run", ClusterSource(), {}, {}, False, False)
    with pytest.raises(OutputError, match=r"cannot write into: 'gs://\*\*\*@bucket/out' \(missing project id\)"), wanted:
        pass
    shards = ShardFolder(Store(), "bucket/out", {}, {})
    shards.add(0, pyarrow.table({"number": [0]}), Outcome(images=1))
    with pytest.raises(OutputError, match=r"cannot write: 'bucket/out/part-0000000000.parquet'"):
        shards.flush()


def test_without_ray_it_says_what_to_install(
    trained: Trained, tmp_path: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "find_spec", lambda name: None)
    code, _, heard = cli("localise", trained.images, "-m", trained.run, "-o", tmp_path / "out", "--engine", "ray")
    assert code == 7
    assert heard.endswith("pip install 'stn-coloc[ray]'\n")


def test_actors_leave_room_for_decoding() -> None:
    assert spread(Room(64, 0, 4), None, "auto").actors == 56
    assert spread(Room(1, 0, 1), None, "cpu").cpus == 0.5
    assert spread(Room(32, 8, 1), None, "auto").gpus == 1
    for cpus in (1, 2, 3, 16, 128):
        shares = spread(Room(cpus, 0, 1), None, "cpu")
        assert shares.actors * shares.cpus + joining.DECODING_CPUS <= cpus
    with pytest.raises(ResourceError, match="no machine of the cluster has a GPU"):
        spread(Room(8, 0, 1), None, "cuda")
    with pytest.raises(UsageError, match="more than the cluster can hold"):
        spread(Room(8, 2, 1), 3, "cuda")
