"""What a report says in words; the same on a terminal and on the page."""

from __future__ import annotations

from classer_core.evaluation.report import Report


def share(value: float | None) -> str:
    """0.953 as 95.3%; a dash where there is no figure."""
    return "–" if value is None else f"{value * 100:.1f}%"


def threshold_sentence(report: Report) -> str:
    """What `min_confidence` (one label a row) or `threshold` (several) gives the wanted precision."""
    wanted, point = f"{report.wanted.wanted * 100:g}%", report.wanted.point
    if point is None:
        return f"No threshold gives {wanted} precision."
    if report.mode == "multi":
        return (
            f"threshold {point.threshold:.4g} gives {share(point.precision)} precision "
            f"and finds {share(point.coverage)} of the right labels."
        )
    return (
        f"min_confidence {point.threshold:.4g} gives {share(point.precision)} precision on {share(point.coverage)} of rows."
    )


def notes(report: Report) -> list[str]:
    """What a reader must know of rows that were not judged, and of the job's own abstaining."""
    rows = report.rows
    said = []
    if rows.without_gold:
        said.append(f"{rows.without_gold:,} of {rows.gold_rows:,} gold rows have no label.")
    if rows.unreadable:
        said.append(f"{rows.unreadable:,} gold rows are unreadable.")
    if rows.unmatched:
        said.append(f"{rows.unmatched:,} gold ids are none of the job's records.")
    for code, count in rows.failed.items():
        said.append(f"{count:,} gold rows failed: {code}.")
    if report.abstained:
        limit = f"The job's min_confidence {report.abstained.min_confidence:g}"
        answered, precision = share(report.abstained.answered), share(report.abstained.precision)
        said.append(f"{limit} answers {answered} of rows, with {precision} precision.")
    if report.fallback_is_right:
        said.append("Gold rows name the fallback label: abstaining counts as that answer.")
    return said
