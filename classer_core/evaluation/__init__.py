"""Evaluate a classifier on rows whose right ("gold") labels are known.

Predictions (gold and given labels) -> metrics -> Report -> page (HTML), JSON, or a terminal
"""

from classer_core.evaluation.judge import evaluate as evaluate
from classer_core.evaluation.page import render_page as render_page
from classer_core.evaluation.predictions import Predictions as Predictions
from classer_core.evaluation.report import Report as Report
from classer_core.evaluation.report import Rows as Rows

__all__ = ["Predictions", "Report", "Rows", "evaluate", "render_page"]
