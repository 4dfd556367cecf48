"""How the instance network in the package is made.

    python -m stn_cli.pretrain.instances cut train0.npz train1.npz --out STOCK.npz
    python -m stn_cli.pretrain.instances train STOCK.npz --out FOLDER --minutes 8

The first makes cutouts from shards of small labelled pictures (see `stn_cli.pretrain.pictures.load_shards`), the second trains on canvases
of them for a given time -> FOLDER/instances.safetensors. The figures in `docs/experiments.md` are of this script.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np

from stn_cli.encoders.small import SmallEncoder
from stn_cli.errors import ColocError
from stn_cli.instances.weights import FILE, read_instances
from stn_cli.pretrain.instances.cutouts import Cutout, cut_out_object, search_classes
from stn_cli.pretrain.instances.stock import read_stock, write_stock
from stn_cli.pretrain.instances.train import Recipe, train_instances
from stn_cli.pretrain.pictures import load_shards
from stn_cli.runtime.device import pick_device
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.threads import default_workers


def main(arguments: list[str] | None = None) -> None:
    """Cut, or train.

    Args:
        arguments: of the command line; those of the process when left out.
    """
    parser = argparse.ArgumentParser(prog="python -m stn_cli.pretrain.instances", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cutter = commands.add_parser("cut")
    cutter.add_argument("shards", nargs="+", type=Path)
    cutter.add_argument("--out", type=Path, required=True)
    cutter.add_argument("--workers", type=int, default=default_workers())
    trainer = commands.add_parser("train")
    trainer.add_argument("stock", type=Path)
    trainer.add_argument("--out", type=Path, required=True)
    trainer.add_argument("--begin", type=Path, help="weights of an earlier training to go on with")
    for field in fields(Recipe):
        trainer.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    for each in (cutter, trainer):
        each.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    if given.command == "cut":
        print(make_stock(given.shards, given.out, given.device, given.workers))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(**{field.name: getattr(given, field.name) for field in fields(Recipe)})
    start = read_instances(given.begin)[0] if given.begin else SmallEncoder().network
    train_instances(read_stock(given.stock), start, given.out, recipe, pick_device(given.device))
    print(given.out / FILE)


def make_stock(shards: list[Path], out: Path, device: str, workers: int) -> Path:
    """Make cutouts of the shards' pictures and write those that can be trusted, each with its picture.

    Args:
        shards: of labelled pictures.
        out: the file of cutouts.
        device: for the networks.
        workers: threads that outline.

    Returns:
        The file.
    """
    pictures, blobs, encoder = load_shards(shards), _blobs(shards), SmallEncoder()
    assert encoder.head is not None
    target = pick_device(device)
    outlines, kept = list[Cutout](), list[int]()
    for found in search_classes(encoder.network.to(target), encoder.head.to(target), pictures, target):
        work = list(zip(pictures.pixels[found.index].numpy(), found.boxes, found.margins.numpy(), strict=True))
        for index, own in zip(found.index.tolist(), ordered_map(lambda job: cut_out_object(*job), work, workers), strict=True):
            if own is not None:
                outlines.append(own)
                kept.append(index)
    write_stock(out, [blobs[i] for i in kept], outlines, pictures.labels[kept].numpy().astype(np.int16))
    return out


def _blobs(shards: list[Path]) -> list[bytes]:
    out = []
    for path in shards:
        with np.load(path, allow_pickle=False) as shard:
            blob, offset = shard["blob"], shard["offset"]
            out += [blob[a:b].tobytes() for a, b in pairwise(offset)]
    return out


if __name__ == "__main__":
    try:
        main()
    except ColocError as error:
        raise SystemExit(f"error: {error}") from error
