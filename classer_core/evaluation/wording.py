"""The sentences and names of metrics of a report, for the terminal and the page."""

from __future__ import annotations

from classer_core.evaluation.report import Interval, Report


def share(value: float | None) -> str:
    """Return a share as a percentage; a dash for None.

    >>> share(0.953)
    '95.3%'
    """
    return "\N{EN DASH}" if value is None else f"{value * 100:.1f}%"


def figures(report: Report) -> list[tuple[str, Interval]]:
    """Return (name, metric) of the most important metrics in the report's mode."""
    exact = "Exact match" if report.mode == "multi" else "Accuracy"
    if report.mode == "single":
        return [(exact, report.accuracy), ("Macro-F1", report.macro_f1)]
    of_all = [("recall", report.micro_recall), ("precision", report.micro_precision), ("F1", report.micro_f1)]
    if report.mode == "detection":
        return [(exact, report.accuracy), *((name[:1].upper() + name[1:], value) for name, value in of_all)]
    return [
        (exact, report.accuracy),
        ("Macro-F1", report.macro_f1),
        *((f"Micro-{name}", value) for name, value in of_all),
    ]


def threshold_sentence(report: Report) -> str:
    """Return a sentence that names the threshold for the wanted precision, and its coverage."""
    wanted, point = f"{report.wanted.wanted * 100:g}%", report.wanted.point
    if point is None:
        return f"No {report.setting} gives {wanted} precision."
    gain = f"{report.setting} {point.threshold:.4g} gives {share(point.precision)} precision"
    if report.mode == "single":
        return f"{gain} on {share(point.coverage)} of rows ({point.answers:,} answers)."
    return f"{gain} and finds {share(point.coverage)} of the right labels ({point.answers:,} answers)."


def notes(report: Report) -> list[str]:
    """Return sentences about rows that were not evaluated, and about the job's abstention."""
    rows = report.rows
    sentences = []
    if rows.without_gold:
        sentences.append(f"{rows.without_gold:,} of {rows.gold_rows:,} gold rows have no label.")
    if rows.unreadable:
        sentences.append(f"{rows.unreadable:,} gold rows are unreadable.")
    if rows.unmatched:
        sentences.append(f"{rows.unmatched:,} gold ids do not occur in the job's records.")
    for code, count in rows.failed.items():
        sentences.append(f"{count:,} gold rows failed: {code}.")
    if report.abstained:
        limit = f"The job's min_confidence {report.abstained.min_confidence:g}"
        answered, precision = share(report.abstained.answered), share(report.abstained.precision)
        sentences.append(f"{limit} answers {answered} of rows, with {precision} precision.")
    if report.fallback_is_right:
        sentences.append("Gold rows name the fallback label: abstaining counts as that answer.")
    return sentences
