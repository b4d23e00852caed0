"""Names of Hive partitions: a column and its value as a folder, such as `date=2026-11-24`.

As in Spark and Hive, a missing or empty value is `__HIVE_DEFAULT_PARTITION__`. All but letters, digits, `-`, `_`, `.`
and `~` is escaped by `%` and two hex digits, so no value leads out of its folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote_from_bytes, unquote

from pipelines.storage import before_magic

# The value that Hive writes for a missing one.
MISSING = "__HIVE_DEFAULT_PARTITION__"
_FOLDER = re.compile(r"([A-Za-z_]\w*)=(.*)", re.ASCII | re.DOTALL)


def folder_of(name: str, value: bytes | None) -> str:
    """Return the folder of a column's value.

    >>> folder_of("label", b"a/../b"), folder_of("label", None)
    ('label=a%2F..%2Fb', 'label=__HIVE_DEFAULT_PARTITION__')
    """
    if not value:
        return f"{name}={MISSING}"
    escaped = quote_from_bytes(value, safe="")
    # A text that looks like the sign of a missing value is a text.
    return f"{name}={escaped if escaped != MISSING else '%5F' + MISSING[1:]}"


def values_of(path: str, patterns: Sequence[str]) -> dict[str, str | None]:
    """Return partition -> value of a file.

    >>> values_of("data/date=2026-11-24/lang=en%20GB/a.parquet", ["data/**"])
    {'date': '2026-11-24', 'lang': 'en GB'}
    """
    fixed = (before_magic(pattern).rpartition("/")[0] for pattern in patterns)
    below = min((path.removeprefix(folder) for folder in fixed if path.startswith(folder)), key=len, default="")
    values: dict[str, str | None] = {}
    for folder in below.split("/")[:-1]:
        if match := _FOLDER.fullmatch(folder):
            values.setdefault(match[1], None if match[2] == MISSING else unquote(match[2]))
    return values
