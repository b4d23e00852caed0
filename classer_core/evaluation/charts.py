"""Compute the coordinates of charts, in SVG user units; `templates/charts.html` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from classer_core.evaluation.report import Bin, Point, Report, Target

MATRIX_PX = 1_120
CELL_PX = ((4, 84.0), (10, 56.0), (20, 38.0), (40, 24.0), (60, 16.0))  # (most labels, width of a cell)
SMALLEST_CELL_PX = 6.5
COUNTED_CELL_PX = 30.0  # smallest cells that show their count
SLANTED_CELL_PX = 20.0  # smallest cells whose labels are slanted instead of vertical
LABEL_CHARS = 26
PLOT_PX = 360.0
HISTOGRAM_PX = 64.0


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix.

    Attributes:
        x: left edge.
        y: upper edge.
        right: whether the cell is on the diagonal.
        depth: opacity of the colour, 0-1.
        count: number of rows.
        gold: the right label.
        given: the given label.
        share: share of the rows with this right label, 0-1.
    """

    x: float
    y: float
    right: bool
    depth: float
    count: int
    gold: str
    given: str
    share: float


@dataclass(frozen=True)
class Matrix:
    """The chart of a confusion matrix: rows are right labels, columns given labels; empty cells are omitted."""

    size: float
    cell: float
    font: float
    margin: float
    slanted: bool
    names: list[str]
    cells: list[Cell]

    @property
    def counted(self) -> bool:
        """Return whether counts fit into the cells."""
        return self.cell >= COUNTED_CELL_PX


@dataclass(frozen=True)
class Bar:
    """A bin of the reliability diagram: a bar up to its accuracy, a dot at its mean confidence, a bar for its count."""

    x: float
    width: float
    y: float
    height: float
    dot_x: float
    count_height: float
    bin: Bin


@dataclass(frozen=True)
class CurvePoint:
    """A point of the precision/coverage curve."""

    x: float
    y: float
    point: Point


@dataclass(frozen=True)
class CurveChart:
    """The precision/coverage curve.

    Attributes:
        floor: precision at the bottom of the chart.
        path: SVG path of the curve.
        points: points of the curve.
        wanted_y: y of the wanted precision; None if it is below the chart.
        chosen: the point with the wanted precision; None if no threshold reaches it.
        ticks: (y, text) of the precision axis.
    """

    floor: float
    path: str
    points: list[CurvePoint]
    wanted_y: float | None
    chosen: CurvePoint | None
    ticks: list[tuple[float, str]]


def matrix_chart(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> Matrix:
    """Return the chart of a confusion matrix: large cells with counts for few labels, a heat map for up to 200.

    Args:
        names: labels.
        matrix: counts by right label (rows) and given label (columns).
    """
    count = len(names)
    cell = next((width for most, width in CELL_PX if count <= most), max(SMALLEST_CELL_PX, MATRIX_PX / count))
    font = min(13.0, max(cell * 0.92, 5.5))
    cells = []
    for row, counts in enumerate(matrix):
        support = max(sum(counts), 1)
        for column, value in enumerate(counts):
            if value:
                share = value / support
                # The square root makes rare confusions visible.
                depth = share if row == column else share**0.5
                corner = (column * cell, row * cell)
                cells.append(Cell(*corner, row == column, max(depth, 0.08), value, names[row], names[column], share))
    short_names = [name if len(name) <= LABEL_CHARS else name[: LABEL_CHARS - 1] + "…" for name in names]
    margin = max(map(len, short_names)) * font * 0.6 + 14
    return Matrix(cell * count, cell, font, margin, cell >= SLANTED_CELL_PX, short_names, cells)


def reliability_chart(bins: Sequence[Bin]) -> list[Bar]:
    """Return the bars of a reliability diagram of side `PLOT_PX`, with a histogram of height `HISTOGRAM_PX` below."""
    most = max((item.count for item in bins), default=0) or 1
    return [
        Bar(
            x=item.low * PLOT_PX,
            width=(item.high - item.low) * PLOT_PX,
            y=(1 - item.accuracy) * PLOT_PX,
            height=item.accuracy * PLOT_PX,
            dot_x=item.confidence * PLOT_PX,
            count_height=item.count / most * HISTOGRAM_PX,
            bin=item,
        )
        for item in bins
        if item.accuracy is not None and item.confidence is not None
    ]


def curve_chart(curve: Sequence[Point], wanted: Target) -> CurveChart:
    """Return the chart of a precision/coverage curve of side `PLOT_PX`; its axis starts just below the curve."""
    low = min(floor(min(point.precision for point in curve) * 10) / 10, 0.9)

    def placed(point: Point) -> CurvePoint:
        return CurvePoint(point.coverage * PLOT_PX, (1 - (point.precision - low) / (1 - low)) * PLOT_PX, point)

    points = [placed(point) for point in curve]
    path = "M" + " L".join(f"{point.x:.1f},{point.y:.1f}" for point in points)
    steps = round((1 - low) * 10)
    ticks = [low + (1 - low) * step / steps for step in range(steps + 1)]
    return CurveChart(
        floor=low,
        path=path,
        points=points,
        wanted_y=(1 - (wanted.wanted - low) / (1 - low)) * PLOT_PX if wanted.wanted >= low else None,
        chosen=placed(wanted.point) if wanted.point else None,
        ticks=[((1 - (tick - low) / (1 - low)) * PLOT_PX, f"{tick * 100:.0f}%") for tick in ticks],
    )


def charts(report: Report) -> tuple[Matrix, list[Bar], CurveChart]:
    """Return the three charts of a report."""
    return (
        matrix_chart(report.confusion_labels, report.confusion_matrix),
        reliability_chart(report.calibration),
        curve_chart(report.curve, report.wanted),
    )
