"""How a run learnt: its log as charts."""

from __future__ import annotations

from typing import Any

from stn_cli.report.figures import Series, line_chart

MOST_LINES_DRAWN = 64
"""Of a chart."""
COLOURS = tuple(f"var(--curve-{number})" for number in range(1, 7))
"""Of lines: the page's own, light and dark."""


def charts(metrics: list[dict[str, Any]], rigid: bool) -> list[tuple[str, str]]:
    """The charts of a run, with their titles.

    Args:
        metrics: the log's lines.
        rigid: whether the rigid search's answer was taken for any kind of object.

    Returns:
        (title, SVG) of each chart that has a point.
    """

    def series(stage: str, x: str, y: str, name: str) -> list[Series]:
        """One line, or one for each kind of object and level of a cascade."""
        rows = [m for m in metrics if m.get("stage") == stage and all(type(m.get(name)) in (int, float) for name in (x, y))]
        parts = sorted({(m.get("object", 0), m.get("level", 0)) for m in rows})[:MOST_LINES_DRAWN]
        out = []
        for i, (number, level) in enumerate(parts):
            points = [(m[x], m[y]) for m in rows if (m.get("object", 0), m.get("level", 0)) == (number, level)]
            label = name if len(parts) == 1 else f"{name}, kind {number + 1}, level {level + 1}"
            out.append(Series(label, points, COLOURS[(i + (name != "loss")) % len(COLOURS)]))
        return out

    regression = series("regression", "step", "loss", "loss") + series("regression", "step", "agreement", "IoU with the search")
    search = "Search: loss of rigid crops by size" + ("" if rigid else " (the hypothesis that was not taken)")
    wanted = [
        (search, series("search", "side", "loss", "loss"), "side, share of the image"),
        ("Regression: the transformer learns what the search found", regression, "step"),
        ("Fine-tuning: loss of the transformer's own crops", series("finetune", "step", "loss", "loss"), "step"),
    ]
    drawn = [(title, line_chart(lines, x_label, "loss")) for title, lines, x_label in wanted]
    return [(title, svg) for title, svg in drawn if svg]
