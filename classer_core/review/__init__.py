"""Review: rows whose correction helps most, and the answers that people give."""

from classer_core.review.choosing import Candidate, Chooser
from classer_core.review.queue import ReviewQueue

__all__ = ["Candidate", "Chooser", "ReviewQueue"]
