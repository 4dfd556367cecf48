"""Joining a cluster of Ray, or starting one on this machine; what every machine must have is seen before the work begins."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from stn_cli.errors import ResourceError, UsageError, counted
from stn_cli.formats.shards import one_line
from stn_cli.runtime.threads import default_workers
from stn_cli.version import __version__

PATIENCE = 10.0
"""Seconds within which a cluster's address must answer."""
LOOK_AROUND = 120.0
"""Seconds within which every machine must say what it has."""
STORE_BYTES = 128 << 20
"""Of the object store of a cluster that is started here: so many, and as many again for each processor; at most `MOST_STORE`."""
MOST_STORE = 4 << 30
LEAST_STORE = 80 << 20
"""Bytes; Ray takes no less."""
DECODING_CPUS = 0.5
"""Processors that a task which decodes is counted for. Not measured."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a cluster has: processors, GPUs, machines."""

    cpus: float
    gpus: float
    nodes: int


@dataclass(frozen=True, slots=True)
class ActorShares:
    """How the actors are spread: how many, and what each of them takes."""

    actors: int
    cpus: float
    gpus: float


def require_ray() -> Any:
    """Ray, imported only where it is used.

    Returns:
        The module.

    Raises:
        ResourceError: it is not installed.
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise ResourceError("--engine ray needs a package that is not installed", "ray", todo="pip install 'stn-coloc[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it prints warnings that are of no use here
    import ray

    return ray


@contextmanager
def joined(address: str | None) -> Iterator[Room]:
    """A cluster, as long as the block runs; one that the process has joined already is left as it is.

    Args:
        address: of a running cluster; when left out that of `RAY_ADDRESS`, or a cluster that is started on this machine.

    Yields:
        What it has.

    Raises:
        ResourceError: no Ray, no such cluster, or its machines have another Ray or another version of this package.
    """
    ray = require_ray()
    ours = not ray.is_initialized()
    if ours:
        _join(ray, address or os.environ.get("RAY_ADDRESS"))
    try:
        check_machines(ray)
        has = ray.cluster_resources()
        yield Room(float(has.get("CPU", 0)), float(has.get("GPU", 0)), sum(bool(node["Alive"]) for node in ray.nodes()))
    finally:
        if ours:
            ray.shutdown()


def _join(ray: Any, address: str | None) -> None:
    common = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": True}
    cpus = default_workers()
    here = {"address": "local", "num_cpus": cpus, "include_dashboard": False, "object_store_memory": _store(cpus)}
    try:
        if address and address != "local":
            _knock(address)
            here = {"address": address}
        with _silent():
            ray.init(**here, **common)
    except (RuntimeError, ConnectionError, ValueError, OSError, TimeoutError) as error:
        what = "cannot join the cluster" if address else "cannot start Ray"
        why = one_line(error)
        todo = "Install the same Ray and Python everywhere" if "ersion mismatch" in why else "See whether it runs: ray status"
        raise ResourceError(what, address, why, todo) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Ray says that it is silent: on the process's own stderr, from a library that knows no other."""
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _store(cpus: int) -> int:
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 10 if hasattr(os, "sysconf") else MOST_STORE
    return max(LEAST_STORE, min(STORE_BYTES * (1 + cpus), MOST_STORE, room))


def _knock(address: str) -> None:
    """See that somebody listens: Ray itself would try for minutes.

    Raises:
        ConnectionError, ValueError: nobody does, or it is no address.
    """
    host, colon, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if address == "auto" or ("://" in address and not address.startswith("ray://")):
        return
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("an address is HOST:PORT, auto, or ray://HOST:PORT")
    with socket.create_connection((host.strip("[]"), int(port)), PATIENCE):
        pass


def check_machines(ray: Any) -> None:
    """See that every machine of the cluster has this version of the package.

    Args:
        ray: the module, initialised.

    Raises:
        ResourceError: one has not; Ray itself refuses machines with another Ray.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

    def version() -> str:  # defined here, so that it is sent as code: the package may be missing there
        try:
            from stn_cli.version import __version__ as there
        except ImportError:
            return ""
        return there

    asked = ray.remote(num_cpus=0, max_retries=2)(version)
    end = time.monotonic() + LOOK_AROUND
    while True:
        nodes = {n["NodeID"]: n["NodeManagerHostname"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")}
        try:
            answers = [asked.options(scheduling_strategy=OnNode(node, soft=False)).remote() for node in nodes]
            found = ray.get(answers, timeout=LOOK_AROUND)
            break
        except ray.exceptions.RayError as error:
            gone = isinstance(error, ray.exceptions.TaskUnschedulableError)  # a moment ago, and the list does not know yet
            if not gone or time.monotonic() > end:
                raise ResourceError("the cluster does not answer", None, one_line(error), "See ray status") from error
            time.sleep(1.0)
    for host, there in zip(nodes.values(), found, strict=True):
        if there != __version__:
            why = f"it has {there}, this is {__version__}" if there else "it is not installed there"
            raise ResourceError("stn-coloc differs on a machine of the cluster", host, why, "Install the same everywhere")


def spread(room: Room, concurrency: int | None, device: str) -> ActorShares:
    """How many actors, and what each of them takes; tasks that decode must find room beside them.

    Args:
        room: what the cluster has.
        concurrency: actors that are wanted; one for each GPU, or as many as there are processors but those that decode, when left out.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        The shares.

    Raises:
        UsageError: more actors than the cluster can hold.
        ResourceError: no GPU, where one was asked for.
    """
    wants_gpu = device.startswith("cuda") or (device == "auto" and room.gpus >= 1)
    if wants_gpu and room.gpus < 1:
        raise ResourceError("no machine of the cluster has a GPU", device, None, "Use --device auto or cpu")
    usable = room.cpus - DECODING_CPUS
    most = int(room.gpus) if wants_gpu else max(1, int(room.cpus - max(DECODING_CPUS, room.cpus / 8)))
    actors = concurrency or most
    if usable <= 0:
        raise ResourceError("the cluster has no processor to work on", f"{room.cpus:g}", todo="See ray status")
    if actors > (most if wants_gpu else 4 * room.cpus):
        has = f"{counted(room.nodes, 'machine')} with {room.cpus:g} CPUs and {room.gpus:g} GPUs"
        raise UsageError("--concurrency is more than the cluster can hold", actors, has)
    return ActorShares(actors, min(1.0, int(100 * usable / actors) / 100), float(wants_gpu))
