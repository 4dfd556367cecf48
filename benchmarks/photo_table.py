"""The table of photographs: what each column is, and means over seeds and over groups of sets; for the terminal and for docs.

Rows are those of the result file: one for each set and seed, as `benchmarks/photos.py` measures them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from benchmarks.common import CHOSEN, NEW_SETS, OLD_SETS
from benchmarks.markdown import Figure

Rows = Mapping[str, Mapping[str, Any]]

LOST = {"voc07_motorbike": 72.2, "voc07_aeroplane": 84.0, "voc07_boat": 39.3, "voc07_bicycle": 53.7}
"""CorLoc of LOST with DINO ViT-S/16, as published (Siméoni et al. 2021)."""
SETS = (*OLD_SETS, *NEW_SETS)
GROUPS = {
    "mean of the old eight": OLD_SETS,
    "mean of the new eight": NEW_SETS,
    "mean of the half for constants": CHOSEN,
    "mean of the other half": tuple(name for name in SETS if name not in CHOSEN),
    "mean of those with LOST's figure": tuple(LOST),
    "mean of all": SETS,
}
HALVES = {title: GROUPS[title] for title in ("mean of the half for constants", "mean of the other half", "mean of all")}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes:
        key: of the rows; `lost` is not measured.
        title: in docs.
        short: on the terminal.
        digits: after the point.
        unit: put behind the figure in docs.
    """

    key: str
    title: str
    short: str
    digits: int
    unit: str = ""


ACCURACY = (
    Column("corloc", "CorLoc", "CorLoc", 1),
    Column("centred", "best centred box", "centred", 0),
    Column("lost", "LOST, DINO ViT-S/16", "LOST", 1),
    Column("ap50", "AP50", "AP50", 1),
    Column("auroc", "AUROC of scores", "AUROC", 2),
    Column("calibration", "calibration error", "calib.", 2),
    Column("recall", "recall at .5", "rec .5", 0),
    Column("precision", "precision at .5", "prec .5", 0),
    Column("found", "found at .5, an image", "found", 2),
    Column("objects", "true objects, an image", "objects", 2),
)
COST = (
    Column("train_seconds", "training, s", "train s", 0),
    Column("localise_seconds", "localising, s", "local. s", 1),
    Column("gigabytes", "memory", "GB", 1, " GB"),
    Column("per_100", "s for 100 photographs", "s/100", 1),
    Column("vits_per_100", "2 x ViT-S/16, s for 100", "2ViT/100", 1),
    Column("ratio", "ratio", "ratio", 2),
)


def key_of(name: str, seed: int) -> str:
    """The row of a set and a seed."""
    return f"{name} seed {seed}"


def in_order(rows: Rows) -> dict[str, Any]:
    """The rows by set, then by seed."""
    return dict(sorted(rows.items(), key=lambda item: (SETS.index(item[1]["set"]), item[1]["seed"])))


def figures(rows: Rows, name: str, key: str) -> list[float] | None:
    """A set's figures of one column, one for each seed.

    Returns:
        None where it was not measured; fewer than the seeds where there is none to be had, as AUROC of boxes that are all right.
    """
    if key == "lost":
        return [LOST[name]] if name in LOST else None
    measured = [row[key] for row in rows.values() if row["set"] == name and key in row]
    return [value for value in measured if value is not None] if measured else None


def mean_of_set(rows: Rows, name: str, key: str) -> float | None:
    """Over the seeds; None where there is no figure."""
    own = figures(rows, name, key)
    return mean(own) if own else None


def mean_of_group(rows: Rows, names: Sequence[str], key: str) -> float | None:
    """Over the sets' means; None where a set was not measured. A set without a figure to be had does not count."""
    each = [figures(rows, name, key) for name in names]
    if any(own is None for own in each):
        return None
    means = [mean(own) for own in each if own]
    return mean(means) if means else None


def cells(rows: Rows, columns: Sequence[Column], *, units: bool = False) -> list[list[str]]:
    """The table's lines: each of the sets, measured or not, and the means of groups.

    Args:
        rows: of the result file.
        columns: to show.
        units: whether figures carry theirs.

    Returns:
        Of each line its name, its seeds, and the figures; "-" for one that is not there.
    """

    def shown(value: float | None, column: Column) -> str:
        unit = column.unit if units else ""
        return "-" if value is None else f"{Figure(value):.{column.digits}f}{unit}"

    lines = []
    for name in SETS:
        seeds = sorted(row["seed"] for row in rows.values() if row["set"] == name)
        said = ", ".join(map(str, seeds)) or "-"
        lines.append([name, said, *(shown(mean_of_set(rows, name, c.key), c) for c in columns)])
    for title, names in GROUPS.items():
        lines.append([title, "", *(shown(mean_of_group(rows, names, c.key), c) for c in columns)])
    return lines


def text(rows: Rows) -> str:
    """The whole table for the terminal."""
    columns = (*ACCURACY, *COST)
    lines = [["set", "seeds", *(c.short for c in columns)], *cells(rows, columns)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )
