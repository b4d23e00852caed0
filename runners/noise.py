"""What libraries log that is of no use to who runs a job."""

from __future__ import annotations

import logging


def drop_noise() -> None:
    """Beam warns of Google's libraries, which a job without them does not need."""
    logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
