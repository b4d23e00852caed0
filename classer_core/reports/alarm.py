"""When a run is worth a look: what it says of itself, and what has changed since a reference run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from classer_core.reports.drift import compared
from classer_core.reports.report import RunReport
from classer_core.reports.shift import TextShift

# Changes that chance does not explain, and that are at least so large: large runs show the smallest ones.
LEAST_SHARE = 0.05
LEAST_FAILED = 0.02
LEAST_CONFIDENCE = 0.05


@dataclass(frozen=True)
class Limits:
    """What a run must keep to.

    Attributes:
        min_accuracy: lowest accuracy, 0-1, as confidences estimate it.
        max_unsure: largest share of rows, 0-1, whose answer is more likely wrong than right, or that have no label.
    """

    min_accuracy: float | None = None
    max_unsure: float | None = None


def alarms(
    accuracy: float | None,
    unsure: float,
    limits: Limits,
    now: RunReport | None,
    before: RunReport | None,
    shift: TextShift | None,
) -> Iterator[str]:
    """Yield what is wrong with a run, a phrase each.

    Args:
        accuracy: estimated, 0-1; None without an answer.
        unsure: share of rows, 0-1.
        limits: what they must keep to.
        now: the run's rows; None without a reference.
        before: those of the reference.
        shift: of the texts; None if they are not in both outputs.
    """
    if limits.min_accuracy is not None and accuracy is not None and accuracy < limits.min_accuracy:
        yield f"estimated accuracy {accuracy:.1%} is below {limits.min_accuracy:.1%}"
    if limits.max_unsure is not None and unsure > limits.max_unsure:
        yield f"{unsure:.1%} of rows fit no label, more than {limits.max_unsure:.1%}"
    if now is None or before is None:
        return
    changed = compared(now, before)
    for item in changed.labels:
        if item.moved and abs(item.share - (item.earlier or 0.0)) >= LEAST_SHARE:
            name = "no label" if item.label is None else repr(item.label[:60])
            yield f"{name} has {item.share:.1%} of rows, {item.earlier or 0.0:.1%} before"
    least = {"failed": LEAST_FAILED, "abstained": LEAST_SHARE, "mean confidence": LEAST_CONFIDENCE}
    for change in changed.changes:
        if change.moved and abs(change.now - change.earlier) >= least[change.name]:
            yield f"{change.name} is {change.now:.1%}, {change.earlier:.1%} before"
    if shift is not None and shift.is_change:
        yield f"texts have shifted by {shift.value:.2f} of 1; {shift.unlike:.1%} are unlike anything before"
