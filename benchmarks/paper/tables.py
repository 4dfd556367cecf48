"""The tables of the paper's experiments, each made from its result file."""

from __future__ import annotations

from benchmarks.markdown import markdown, result, source
from benchmarks.paper.reported import TABLE1, TABLE4
from benchmarks.paper.trials import told


def table1() -> str:
    short = {"affine": "aff", "projective": "proj", "thin_plate_spline": "TPS"}
    columns = {}
    for kind in ("FCN", "CNN"):
        columns[kind] = kind
        columns |= {f"ST-{kind} {transform}": f"ST-{kind} {said}" for transform, said in short.items()}
    rows = [
        [name, *(f"{r[c]['error']:.2f} ({TABLE1[name][c]})" if c in r else None for c in columns)]
        for name, r in result("paper_table1")["rows"].items()
    ]
    return markdown(["", *columns.values()], rows) + source("paper_table1")


def table4() -> str:
    rows = [[name, r["error"], TABLE4[name]] for name, r in result("paper_table4")["rows"].items()]
    return markdown(["", "error, %", "paper"], rows) + source("paper_table4")


def table5() -> str:
    said = result("paper_table5")["rows"]
    lines = {"search, digit classifier": "classifier", "search, gradient": "gradient", "whole run, gradient": "run"}
    rows = [[what, *(f"{r[key]:.0f}" for r in said.values())] for what, key in lines.items()]
    return markdown(["", *said], rows) + source("paper_table5")


def volume() -> str:
    rows = [[name, r["error"], f"{r['parameters']:,}", r["steps"]] for name, r in result("paper_volume")["rows"].items()]
    return markdown(["", "error, %", "parameters", "steps of 24"], rows) + source("paper_volume")


def rotated() -> str:
    rows = []
    for name, r in result("paper_rotated")["rows"].items():
        angle = [r["direction"], f"{r['median_error']:.0f} degrees"] if "direction" in r else [None, None]
        rows.append([name, f"{r['corloc']:.0f}", r["sharpness"], *angle])
    columns = ["digit, transform", "CorLoc", "sharpness of the mean crop", "direction", "median error of the angle"]
    return markdown(columns, rows) + source("paper_rotated")


def several() -> str:
    said = result("paper_several")["rows"]
    rows = [
        [n, *(f"{r[k]:g}" if k in r else None for k in ("recall", "precision", "corloc")), f"{r['seconds']:.0f}"]
        for n, r in said.items()
    ]
    return markdown(["", "recall", "precision", "CorLoc", "seconds"], rows) + source("paper_several")


def _trials(name: str, figures: dict[str, str]) -> str:
    """Mean, and least to most of the seeds, of each figure; and what a network costs."""
    rows = [
        [
            what,
            *(told(r[key]) if key in r else None for key in figures),
            f"{r['multiply_adds'] / 1e6:.2f}",
            f"{r['parameters']:,}",
            f"{r['steps']} of {r['batch']}",
        ]
        for what, r in result(name)["rows"].items()
    ]
    return markdown(["", *figures.values(), "million multiply-adds", "parameters", "steps"], rows) + source(name)


def pooling() -> str:
    return _trials("paper_pooling", {"error": "error, %"})


def basis() -> str:
    return _trials("paper_basis", {"error": "error, %"})


def theta_forward() -> str:
    return _trials("paper_theta_forward", {"error": "error of the digit, %", "off": "off"})


def parts() -> str:
    return _trials("paper_parts", {"error": "error, %", "head": "head, %", "tail": "tail, %"})


def house_numbers() -> str:
    return _trials("paper_house_numbers", {"error": "error of the number, %", "answers": "of an answer, %"})


def high_resolution() -> str:
    return _trials("paper_high_resolution", {"error": "error, %"})


def oversampling() -> str:
    return _trials("paper_oversampling", {"error": "error, %"})


def segmentation() -> str:
    return _trials("paper_segmentation", {"iou": "IoU, %"})
