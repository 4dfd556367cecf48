"""How the weights in the package are made.

    python -m stn_cli.pretrain train0.npz train1.npz train2.npz --held-out val.npz --out FOLDER

Shards of small labelled pictures (see `stn_cli.pretrain.pictures.load_shards`) -> FOLDER/encoder.safetensors. The same command goes on where
it was stopped. The figures in `docs/encoders.md` are of this script.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from stn_cli.encoders.small import FILE, SmallEncoder, write_encoder
from stn_cli.errors import ColocError
from stn_cli.pretrain.objectness import class_boxes, train_objectness
from stn_cli.pretrain.pictures import load_shards
from stn_cli.pretrain.supervised import SupervisedRecipe, train_supervised
from stn_cli.runtime.device import pick_device


def main(arguments: list[str] | None = None) -> None:
    """Train classifier, then objectness, then write the weights.

    Args:
        arguments: of the command line; those of the process when left out.
    """
    parser = argparse.ArgumentParser(prog="python -m stn_cli.pretrain", description=__doc__)
    parser.add_argument("shards", nargs="+", type=Path)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=SupervisedRecipe().epochs)
    parser.add_argument("--batch", type=int, default=SupervisedRecipe().batch)
    parser.add_argument("--lr", type=float, default=SupervisedRecipe().lr)
    parser.add_argument("--start", type=Path, help="folder with an encoder whose weights the training begins with")
    parser.add_argument("--objectness-steps", type=int, default=1200)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    device = pick_device(given.device)
    given.out.mkdir(parents=True, exist_ok=True)
    pictures, held_out = load_shards(given.shards), load_shards([given.held_out])
    recipe = SupervisedRecipe(epochs=given.epochs, batch=given.batch, lr=given.lr)
    start = SmallEncoder(given.start) if given.start else None
    model, accuracy = train_supervised(pictures, held_out, given.out, recipe, device, start.network if start else None)
    boxes = class_boxes(model, pictures, device)
    head = train_objectness(model, pictures, boxes, given.out, device, steps=given.objectness_steps)
    facts = {
        "recipe": "class labels, then objectness",
        "pictures": len(pictures),
        "classes": int(pictures.labels.max()) + 1,
        "epochs": recipe.epochs + (int(start.facts["epochs"]) if start else 0),
        "batch": recipe.batch,
        "mosaic": recipe.mosaic,
        "objectness_steps": given.objectness_steps,
        "top1": round(accuracy, 4),
        "torch": torch.__version__,
    }
    write_encoder(given.out / FILE, model.network, head, facts)
    print(given.out / FILE)


if __name__ == "__main__":
    try:
        main()
    except ColocError as error:
        raise SystemExit(f"error: {error}") from error
