"""How many threads work: on the cores that this process may use, in groups with a quota, and as a person asks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch

from stn_cli.runtime import threads
from stn_cli.runtime.threads import Watch, available_cores, default_workers, sleep_while_waiting, use_threads, working_threads
from tests.conftest import ROOT

# what the system says of control groups: its files, and the cores of 64 that are then to be had
TWO, ONE = "0::/a/b\n", "4:memory:/x\n2:cpu,cpuacct:/docker/f00\n"
GROUPS: list[tuple[dict[str, str], int]] = [
    ({}, 64),
    (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"},
        1,
    ),  # a container: its group is all that it sees
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),  # a fifth of a core is still one thread
    ({"proc/self/cgroup": TWO, "sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"}, 2),
    ({"proc/self/cgroup": TWO, "sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3),
    ({"proc/self/cgroup": "0::/../..\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "odd\n"}, 64),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1 0\n"}, 64),
    (
        {
            "proc/self/cgroup": ONE,
            "sys/fs/cgroup/cpu/docker/f00/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu/docker/f00/cpu.cfs_period_us": "50000\n",
        },
        3,
    ),
    # seen from inside, the group lies at the top
    (
        {
            "proc/self/cgroup": ONE,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        1,
    ),
    (
        {
            "proc/self/cgroup": ONE,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        64,
    ),
]


def made(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


@pytest.fixture
def as_before() -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])
    threads._asked.clear()
    threads._watched.clear()


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(("files", "cores"), GROUPS)
def test_cores_of_a_group(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert available_cores(made(tmp_path, files)) == cores


def test_a_group_may_have_more_than_the_process_runs_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "800000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5, 7}, raising=False)
    assert available_cores(tmp_path) == 3


@pytest.mark.usefixtures("many_cores", "as_before")
def test_a_container_with_one_of_64_cores_starts_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"})
    monkeypatch.setattr(available_cores, "__defaults__", (root,))
    torch.set_num_threads(8)  # as many as torch would take there
    use_threads()
    assert (torch.get_num_threads(), cv2.getNumThreads(), default_workers()) == (1, 1, 1)


STAT = "cpu  9 0 9 {0} 0 0 0 0 0 0\ncpu0 1 0 1 {0} 0 0 0 0 0 0\ncpu1 1 0 1 {1} {2} 0 0 0 0 0\ncpu2 1 0 1 9999 0 0 0 0 0 0\nintr 5 0\n"
"""Three cores, of which the process may use two; hundredths of seconds idle, and idle while a disk is waited for."""


def test_what_others_leave_is_what_is_idle_and_what_this_process_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    first = Watch.now(made(tmp_path, {"proc/stat": STAT.format(1000, 2000, 0)}))
    assert first is not None
    assert first.idle == 30
    later = Watch.now(made(tmp_path, {"proc/stat": STAT.format(1050, 2010, 5)}))
    assert later is not None
    assert Watch(0, first.idle, 1.0).free_until(Watch(1.0, later.idle, 1.8)) == pytest.approx(0.65 + 0.8)
    assert Watch.now(tmp_path / "nowhere") is None
    assert Watch.now(made(tmp_path, {"proc/stat": "cpu0 odd 0 0 x y z\n"})) is None


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize(("left", "count"), [(0.2, 1), (1.4, 1), (1.6, 2), (3.8, 4), (9.0, 4)])
def test_threads_are_as_many_as_cores_are_left(
    left: float, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr(available_cores, "__defaults__", (tmp_path,))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(8)
    monkeypatch.setattr(Watch, "now", classmethod(lambda cls: cls(10.0, 5.0 + 2 * left, 3.0)))
    threads._watched[:] = [Watch(8.0, 5.0, 3.0)]
    use_threads()
    assert torch.get_num_threads() == count
    assert default_workers() == 4  # decoding threads wait for the disk, and for each other they do not
    torch.set_num_threads(8)
    threads._watched[:] = [Watch(9.9, 5.0, 3.0)]  # too short a time
    use_threads()
    assert torch.get_num_threads() == 4
    torch.set_num_threads(3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # a person said it
    threads._watched[:] = [Watch(8.0, 5.0, 3.0)]
    use_threads()
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("many_cores", "as_before")
def test_a_person_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available_cores, "__defaults__", (tmp_path,))
    assert default_workers() == 16  # of 64 cores
    use_threads(3)
    assert (working_threads(), cv2.getNumThreads(), default_workers()) == (3, 3, 3)
    torch.set_num_threads(2)  # as OMP_NUM_THREADS has it
    use_threads()
    assert (torch.get_num_threads(), default_workers()) == (2, 16)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_threads_sleep_unless_somebody_says_otherwise(
    given: dict[str, str], said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", *threads.WAITING):
        monkeypatch.setenv(name, "")  # so that it is put back as it was
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    sleep_while_waiting()
    assert {name: os.environ[name] for name in ("OMP_WAIT_POLICY", *threads.WAITING) if name in os.environ} == said


def test_the_program_says_so_before_torch_is_loaded_and_the_library_does_not() -> None:
    code = (
        "import os, sys, stn_cli, stn_cli.cli.app as app; from stn_cli.__main__ import main\n"
        "before = os.environ.get('GOMP_SPINCOUNT')\n"
        "app.main = lambda: print(before, os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)\n"
        "main()"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=ROOT)
    assert done.stdout == "None 10000 False\n"
