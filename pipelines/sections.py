"""The common base of a job file's sections: strict models, and the types of their values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from classer_core.records import REQUEST_FIELDS

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds_of(value: Any) -> Any:
    """Return the seconds of a duration such as `30s`, `5m` or `1.5h`; numbers are seconds already."""
    if not isinstance(value, str):
        return value
    duration = _DURATION.fullmatch(value.strip())
    if duration is None:
        raise ValueError("is not a duration: 30s, 5m, 2h, or a number of seconds")
    return float(duration[1]) * _UNIT_S[duration[2]]


def listed(value: Any) -> Any:
    """Return one text, or a list of them, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Seconds = Annotated[float, BeforeValidator(seconds_of), Field(gt=0, strict=False)]
Name = Annotated[str, Field(min_length=1)]
# One pattern of files, or several.
Patterns = Annotated[tuple[str, ...], BeforeValidator(listed), Field(min_length=1)]
Options = dict[str, str | int | float | bool]
# BigQuery's names as they may stand between backquotes: project.dataset.table, and a column.
Table = Annotated[str, Field(pattern=r"^[a-z][a-z0-9:.-]*\.[A-Za-z0-9_]+\.[\p{L}\p{N}_-]+$")]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def check_fields(names: Iterable[str]) -> None:
    """Raise a ValueError if one of the names is not a request field."""
    for name in names:
        if name not in REQUEST_FIELDS:
            raise ValueError(f"{name!r} is not a request field. {nearest(name, REQUEST_FIELDS)}")


class Section(BaseModel):
    """A mapping of a job file: unknown keys and wrong types are errors, and nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def located(self, absolute: Callable[[str], str]) -> Self:
        """Return the same section with absolute paths."""
        return self


def formats_of(section: type[Section]) -> tuple[str, ...]:
    """Return the values of `format` that mean this class."""
    return get_args(section.model_fields["format"].annotation)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the remedy for a name that is not known."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
