"""The flags of `stn-coloc train`: one for each setting, in the order of the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stn_cli.cli.completion import ENCODERS, SEARCHES, offers

TRANSFORMS = (
    "attention", "fixed_attention", "box", "euclidean", "similarity", "affine", "projective", "piecewise_affine",
    "thin_plate_spline", "structured",
)  # fmt: skip
"""Names of `stn_cli.stn.TRANSFORMS`, written out because help must not wait for torch; a test holds them together."""

Sources = Annotated[
    list[str] | None,
    typer.Argument(help="Folders, images, globs, .txt lists of paths, or - for paths on stdin.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped, with its own settings.")]
Boxes = Annotated[
    Path | None,
    typer.Option(
        help="Your annotations of some images: reviewed.json or its folder, COCO, Label Studio's JSON, {file: [[x1, y1, x2, y2]]}, VOC XML.",
        show_default=False,
    ),
]
From = Annotated[
    Path | None,
    typer.Option("--from", help="Go on from this finished run, with what it knows; it stays as it is.", show_default=False),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="small, gradient, a torchvision network, dino_vits16, or a folder of stn-coloc pretrain.",
        show_default="small",
        autocompletion=offers(*ENCODERS),
    ),
]
Weights = Annotated[str | None, typer.Option(help="File with the encoder's weights.", show_default=False)]
Layer = Annotated[
    str | None, typer.Option(help="Layer of the encoder whose map is taken; seldom needed.", show_default="last of stride 16")
]
OTHERS = ", ".join(name for name in TRANSFORMS if name not in ("box", "similarity"))
Transform = Annotated[
    str | None,
    typer.Option(
        help=f"How a crop may be placed: box (upright), similarity (also turned), {OTHERS}.",
        show_default="box",
        autocompletion=offers(*TRANSFORMS),
    ),
]
Objects = Annotated[
    str | None,
    typer.Option(
        help="Objects of the common kind in each image: auto for all of them, or a number at most.", show_default="auto"
    ),
]
Kinds = Annotated[int | None, typer.Option(help="Kinds of objects to find, each in every image.", show_default="1")]
Cascade = Annotated[
    int | None,
    typer.Option(
        help="Levels, coarse to fine, for small objects in large images: 3 for objects under a tenth of the image's side.",
        show_default="1",
    ),
]
Search = Annotated[
    str | None,
    typer.Option(
        help="What the object is: rigid (keeps its form), deformable (does not), or auto.",
        show_default="auto",
        autocompletion=offers(*SEARCHES),
    ),
]
Size = Annotated[
    str | None, typer.Option(help="LO-HI: side of the object as a share of the image's, e.g. 0.1-0.4.", show_default="auto")
]
Imgsz = Annotated[
    int | None, typer.Option(help="Images are reduced to this many pixels on their longer side.", show_default="128")
]
Margin = Annotated[float | None, typer.Option(help="Margin of the triplet loss.", show_default="1.0")]
Steps = Annotated[
    int | None, typer.Option(help="Regression steps at most; a quarter of them where objects are proposed.", show_default="400")
]
Finetune = Annotated[
    int | None, typer.Option(help="Steps of the last stage, a quarter likewise; 0 leaves it out.", show_default="40")
]
SearchImages = Annotated[
    int | None,
    typer.Option(
        help="At most this many, drawn at random, are searched; the rest are labelled from what was found.", show_default="160"
    ),
]
Batch = Annotated[int | None, typer.Option(help="Images per step.", show_default="32")]
Rate = Annotated[float | None, typer.Option(help="Base learning rate.", show_default="0.03")]
LocalisationRate = Annotated[
    float | None, typer.Option(help="Share of --lr for the network that places crops (f_loc).", show_default="0.1")
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of the random numbers: the same seed, the same results.", show_default="0")
]
KeptImages = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="<path>",
        help="Keep decoded images in this folder: a further training begins at once.",
        show_default=False,
    ),
]
Config = Annotated[Path | None, typer.Option(help="TOML file with settings; flags win.", show_default=False)]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the settings as TOML and exit.")]
Report = Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")]
