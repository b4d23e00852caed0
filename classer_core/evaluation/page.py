from typing import Any


def render_page(report: Any) -> str: ...

