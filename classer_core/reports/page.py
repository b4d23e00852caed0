"""Render a run's report as one HTML page without scripts and external resources; texts of records are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from classer_core.evaluation.page import environment
from classer_core.reports.report import RunReport

SPARK_PX, SPARK_HEIGHT_PX = 160.0, 30.0
CHART_PX, CHART_HEIGHT_PX = 640.0, 160.0


@dataclass(frozen=True)
class Column:
    """A column of a histogram, in SVG user units; `low` and `high` are the confidences it stands for."""

    x: float
    y: float
    width: float
    height: float
    count: int
    low: float
    high: float


def render_page(report: RunReport) -> str:
    """Return the page's HTML, with styles for print, light and dark mode."""
    most = max((item.share for item in report.labels), default=1.0) or 1.0
    page = environment().get_template("run.html")
    return page.render(
        report=report,
        most=max(most, *(item.earlier or 0.0 for item in report.labels)) if report.labels else most,
        spark=lambda histogram: histogram_chart(histogram, SPARK_PX, SPARK_HEIGHT_PX),
        spark_size=(SPARK_PX, SPARK_HEIGHT_PX),
        confidence=histogram_chart(report.histogram, CHART_PX, CHART_HEIGHT_PX),
        chart_size=(CHART_PX, CHART_HEIGHT_PX),
        moved=[item for item in report.labels if item.moved],
    )


def histogram_chart(histogram: Sequence[int], width: float, height: float) -> list[Column]:
    """Return the columns of a histogram of confidences; the highest one fills the height.

    >>> [(column.x, column.height) for column in histogram_chart([1, 0, 2], 30, 10)]
    [(0.0, 5.0), (20.0, 10.0)]
    """
    most, step = max(histogram, default=0) or 1, width / max(len(histogram), 1)
    return [
        Column(
            place * step,
            height * (1 - count / most),
            step,
            height * count / most,
            count,
            place / len(histogram),
            (place + 1) / len(histogram),
        )
        for place, count in enumerate(histogram)
        if count
    ]
