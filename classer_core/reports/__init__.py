"""What came out of a run: figures of its rows and failures, gathered in one pass, and the page that shows them."""

from classer_core.reports.gather import Gatherer
from classer_core.reports.page import render_page
from classer_core.reports.report import RunReport

__all__ = ["Gatherer", "RunReport", "render_page"]
