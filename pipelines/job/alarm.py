"""`alarm:` of a job: when a run is worth a look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Self

from pydantic import Field

from classer_core.reports.alarm import Limits
from pipelines.sections import Name, Section

Share = Annotated[float, Field(ge=0, le=1, strict=False)]


class Alarm(Section):
    """What a run is held to.

    Attributes:
        reference: the folder of an earlier output, of which this run must not differ; the job's own output is the run
            before this one.
        min_accuracy: see `Limits`.
        max_unsure: see `Limits`.
    """

    reference: Name | None = None
    min_accuracy: Share | None = None
    max_unsure: Share | None = None

    def located(self, absolute: Callable[[str], str]) -> Self:
        """Return the same section; a reference that is not a URL starts at the job file's folder."""
        return self if self.reference is None else self.model_copy(update={"reference": absolute(self.reference)})

    @property
    def limits(self) -> Limits:
        """What the figures of a run must keep to."""
        return Limits(self.min_accuracy, self.max_unsure)
