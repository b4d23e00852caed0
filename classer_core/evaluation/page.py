"""Render a report as one HTML page without scripts and external resources; texts of records are escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from classer_core.evaluation.charts import HISTOGRAM_PX, PLOT_PX, charts
from classer_core.evaluation.report import LabelRow, Report
from classer_core.evaluation.wording import figures, notes, share, threshold_sentence

TEMPLATES = Path(__file__).parent / "templates"


def render_page(report: Report) -> str:
    """Return the page's HTML, with styles for print, light and dark mode."""
    matrix, reliability, curve = charts(report)
    page = environment().get_template("page.html")
    return page.render(
        report=report,
        figures=figures(report),
        labels=sorted(report.labels, key=_worst_first),
        sentence=threshold_sentence(report),
        notes=notes(report),
        matrix=matrix,
        reliability=reliability,
        curve=curve,
    )


def environment() -> Environment:
    """Return what renders the templates of pages; every value is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = share
    environment.globals.update(plot=PLOT_PX, histogram=HISTOGRAM_PX)
    return environment


def _worst_first(row: LabelRow) -> tuple[bool, float]:
    return (row.f1 is None, row.f1.value if row.f1 else 0.0)
