"""`classer cache`: what the cache of this machine's user holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from classer_core.cache import default_cache_url, parse_cache_url
from runners.console import err, out

EXIT_UNREADABLE = 1


def cache(
    file: Annotated[
        Path | None, typer.Argument(help="A cache file, instead of the user's own.", show_default=False)
    ] = None,
) -> None:
    """Shows where the cache of local runs is, how many answers it holds, and since when."""
    from classer_core.cache.sqlite import SqliteCache

    url = parse_cache_url(default_cache_url() if file is None else f"sqlite:///{file.absolute()}")
    assert url is not None
    path = Path(url.address)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("file", str(path))
    if path.exists():
        opened = SqliteCache(path, url.ttl_s, url.max_bytes)
        try:
            held = opened.statistics()
        except sqlite3.Error as error:
            err.print(f"{path}: {error}. Delete it: it is made anew", style="red", markup=False)
            raise typer.Exit(EXIT_UNREADABLE) from error
        finally:
            opened.close()
        table.add_row("answers", f"{held.entries:,}")
        table.add_row("size", f"{held.bytes / 1e6:,.1f} MB of {url.max_bytes / 1e6:,.0f}")
        table.add_row("oldest", f"{held.oldest:%Y-%m-%d %H:%M} UTC" if held.oldest else "")
    else:
        table.add_row("answers", "0")
    out.print(table)
