"""How large a page is drawn."""

from __future__ import annotations

import math

from classer_core.contents import MAX_AREA_PX

MAX_ZOOM = 4.0  # a page of a few points is not worth a wall of pixels


def page_zoom(width: float, height: float, side_px: int) -> float | None:
    """Return the pixels a point at which a page is drawn; None for a page without area.

    Args:
        width, height: of the page, in points.
        side_px: pixels that the longer side has at most.

    >>> page_zoom(612, 792, 1584)
    2.0
    """
    if not (math.isfinite(width) and math.isfinite(height)) or min(width, height) < 0.5:
        return None
    zoom = min(side_px / max(width, height), math.sqrt(MAX_AREA_PX / (width * height)), MAX_ZOOM)
    return zoom if min(width, height) * zoom >= 1 else None
