"""How good a classifier is on rows whose right labels are known.

Answers (what was right, what was said) -> metrics -> Report -> page (HTML), JSON, or a terminal
"""

from classer_core.evaluation.answers import Answers as Answers
from classer_core.evaluation.judge import evaluate as evaluate
from classer_core.evaluation.page import render_page as render_page
from classer_core.evaluation.report import Report as Report
from classer_core.evaluation.report import Rows as Rows

__all__ = ["Answers", "Report", "Rows", "evaluate", "render_page"]
