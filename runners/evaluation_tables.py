"""An evaluation's report on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from classer_core.evaluation import Report
from classer_core.evaluation.report import Interval
from classer_core.evaluation.wording import figures, notes, share, threshold_sentence
from runners.console import plain

LABELS_SHOWN = 30
CONFUSIONS_SHOWN = 8
MISTAKES_SHOWN = 5


def show_report(report: Report, console: Console) -> None:
    """Prints the figures, then labels (worst first where there are many), confusions and the surest mistakes."""
    table = _table("", "", "95% interval")
    for name, figure in figures(report):
        table.add_row(name, f"{figure.value:.3f}", _interval(figure))
    table.add_row("Expected calibration error", f"{report.expected_calibration_error:.3f}", "")
    table.add_row("Rows judged", f"{report.judged:,}", "")
    console.print(table)
    for line in [threshold_sentence(report), *notes(report)]:
        console.print(Text(line))
    console.print()
    _show_labels(report, console)
    _show_confusions(report, console)
    _show_mistakes(report, console)


def _show_labels(report: Report, console: Console) -> None:
    rows = sorted((row for row in report.labels if row.f1 is not None), key=lambda row: row.f1.value if row.f1 else 0)
    table = _table(Column("label", max_width=40, no_wrap=True), "precision", "recall", "F1", "95% interval", "rows")
    for row in rows[:LABELS_SHOWN]:
        precision, recall = share(row.precision), share(row.recall)
        f1, interval = (f"{row.f1.value:.3f}", _interval(row.f1)) if row.f1 else ("", "")
        table.add_row(plain(row.label), precision, recall, f1, interval, f"{row.support:,}")
    console.print(table)
    if len(rows) > LABELS_SHOWN:
        console.print(f"({LABELS_SHOWN} of {len(rows)} labels, worst first; --json and --html have all)")
    console.print()


def _show_confusions(report: Report, console: Console) -> None:
    if not report.confusions:
        return
    table = _table(
        Column("right", max_width=32, no_wrap=True), Column("taken for", max_width=32), "times", "of its rows"
    )
    for item in report.confusions[:CONFUSIONS_SHOWN]:
        table.add_row(plain(item.gold), plain(item.given), f"{item.count:,}", share(item.share))
    console.print(table)
    console.print()


def _show_mistakes(report: Report, console: Console) -> None:
    if not report.mistakes:
        return
    text, sure = Column("sure, and wrong", ratio=1, no_wrap=True), Column("confidence", min_width=10)
    answer, gold = (Column(name, max_width=24, no_wrap=True) for name in ("answer", "right"))
    table = Table(text, answer, sure, gold, box=None, pad_edge=False, header_style="bold", expand=True)
    for item in report.mistakes[:MISTAKES_SHOWN]:
        right = plain(", ".join(item.gold) or "(none)")
        table.add_row(plain(item.text or item.id), plain(item.given), f"{item.confidence:.4f}", right)
    console.print(table)


def _table(first: Column | str, *others: Column | str) -> Table:
    right = [Column(item, justify="right") if isinstance(item, str) else item for item in others]
    return Table(first, *right, box=None, pad_edge=False, header_style="bold")


def _interval(figure: Interval) -> str:
    return f"{figure.low:.3f} - {figure.high:.3f}"
