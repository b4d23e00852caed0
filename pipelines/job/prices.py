"""`prices:` of a job: what a model's tokens cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipelines.sections import Section

MILLION = 1_000_000


class Prices(Section):
    """What is paid for what the model reads.

    Attributes:
        tokens: for a million tokens.
        currency: of the prices, as plans and reports show it.
    """

    tokens: Annotated[float, Field(gt=0, strict=False)]
    currency: Annotated[str, Field(min_length=1, max_length=20)] = "USD"

    def tokens_for(self, cost: float) -> int:
        """Return the tokens that may be read for this much."""
        return int(cost / self.tokens * MILLION)
