"""What has changed between two outputs, told from chance."""

from __future__ import annotations

import dataclasses
from math import erfc, sqrt

from classer_core.reports.report import Change, RunReport

# Of a comparison without a difference, one in so many is called a change, whatever the number of labels.
ONE_IN = 1_000


def compared(report: RunReport, earlier: RunReport) -> RunReport:
    """Return the report with the changes since an earlier output."""
    before = {item.label: item.count for item in earlier.labels}
    now = {item.label: item for item in report.labels}
    chance = 1 / ONE_IN / max(len(before.keys() | now.keys()), 1)
    labels = [
        dataclasses.replace(
            item,
            earlier=before.get(item.label, 0) / max(earlier.rows, 1),
            moved=differs(item.count, report.rows, before.get(item.label, 0), earlier.rows, chance),
        )
        for item in report.labels
    ]
    for item in earlier.labels:
        if item.label not in now:
            moved = differs(0, report.rows, item.count, earlier.rows, chance)
            empty = [0] * len(item.histogram)
            labels.append(
                dataclasses.replace(
                    item, count=0, share=0.0, confidence=None, histogram=empty, earlier=item.share, moved=moved
                )
            )
    totals = {"failed": (report.failed, earlier.failed), "abstained": (report.abstained, earlier.abstained)}
    changes = []
    for name, (count, count_before) in totals.items():
        of, of_before = (item.rows + (item.failed if name == "failed" else 0) for item in (report, earlier))
        moved = differs(count, of, count_before, of_before, 1 / ONE_IN)
        changes.append(Change(name, count / max(of, 1), count_before / max(of_before, 1), moved))
    if report.confidence is not None and earlier.confidence is not None:
        moved = means_differ(report, earlier)
        changes.append(Change("mean confidence", report.confidence, earlier.confidence, moved))
    return dataclasses.replace(report, labels=labels, against=earlier.name, changes=changes)


def differs(count: int, of: int, count_before: int, of_before: int, chance: float) -> bool:
    """Return whether two shares differ by more than chance explains: the two-proportion z test.

    >>> differs(50, 100, 30, 100, 0.01), differs(50, 100, 45, 100, 0.01)
    (True, False)
    """
    if not of or not of_before:
        return False
    pooled = (count + count_before) / (of + of_before)
    spread = sqrt(pooled * (1 - pooled) * (1 / of + 1 / of_before))
    return spread > 0 and _is_rare(abs(count / of - count_before / of_before) / spread, chance)


def means_differ(report: RunReport, earlier: RunReport) -> bool:
    """Return whether two mean confidences differ by more than chance explains, by the variance of their histograms."""
    (mean, variance, of), (mean_before, variance_before, of_before) = _moments(report), _moments(earlier)
    spread = sqrt(variance / max(of, 1) + variance_before / max(of_before, 1))
    return spread > 0 and _is_rare(abs(mean - mean_before) / spread, 1 / ONE_IN)


def _moments(report: RunReport) -> tuple[float, float, int]:
    of, bins = sum(report.histogram), len(report.histogram)
    centres = [(place + 0.5) / bins for place in range(bins)]
    mean = sum(count * at for count, at in zip(report.histogram, centres, strict=True)) / max(of, 1)
    variance = sum(count * (at - mean) ** 2 for count, at in zip(report.histogram, centres, strict=True)) / max(of, 1)
    return mean, variance, of


def _is_rare(sigmas: float, chance: float) -> bool:
    return erfc(sigmas / sqrt(2)) < chance
