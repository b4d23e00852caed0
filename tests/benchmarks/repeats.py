"""What it saves not to pay twice, and what it costs when nothing repeats.

    python -m tests.benchmarks.repeats [repeats | documents | dedup | hammer]

repeats    a file of 100,000 rows with 10% distinct texts against one of as many distinct ones of the same lengths,
           embedded model; then both again, unchanged
documents  a PDF of 20 pages, read and then cached
dedup      `dedup: global` over one text up to two million times beside 100,000 distinct ones, instant model
hammer     8 processes on one SQLite file and on one Redis server, one of them killed each second for 30 s
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from classer_core import Classifier, Engine, Record, RecordError, Scores
from classer_core.cache import Cache, open_cache
from classer_core.cache.entries import from_entry, to_entry
from classer_core.cache.guarded import GuardedCache
from classer_core.cached import load_cached_engine
from classer_core.contents import Attachment
from classer_core.records import Answer
from tests.benchmarks.memory import PeakMemory
from tests.benchmarks.rows import InstantModel
from tests.servers.redis import RedisServer

ROWS = 100_000
LABELS = ["billing", "technical", "sales"]
WORDS = ["invoice", "refund", "login", "error", "price", "quote", "team", "account", "card", "upgrade", "crash", "slow"]
HAMMERS, HAMMER_S, KEYS = 8, 30, 20_000
console = Console(width=110)


class CountedModel(InstantModel):
    """Scores without reading, and counts."""

    calls: ClassVar[list[int]] = [0]

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """See `InstantModel.score`."""
        self.calls[0] += len(texts)
        return [*super().score(texts, classifiers)]


def load() -> Engine:
    """Loads in no time."""
    return Engine(CountedModel())


def run_one(folder: Path, document: dict[str, Any], instant: bool) -> dict[str, Any]:
    """One job in a process of its own: its figures."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.repeats",
        "job",
        str(folder),
        json.dumps(document),
        str(int(instant)),
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return figures


def job(folder: str, document: str, instant: str) -> None:
    """Runs one job and prints its figures as JSON."""
    logging.disable(logging.WARNING)
    from pipelines.job import parse_job
    from runners.local import run_job
    from tests.benchmarks import repeats as here  # the loader must be importable by name, not from __main__

    parsed = parse_job(json.loads(document), Path(folder) / "job.yaml")
    with PeakMemory() as peak:
        summary = run_job(parsed, Path(folder), load=here.load if instant == "1" else None)
    print(
        json.dumps(
            {
                "rate": summary.results / summary.seconds,
                "results": summary.results,
                "cached": summary.cached,
                "tokens": summary.tokens,
                "calls": here.CountedModel.calls[0],
                "peak_bytes": peak.bytes,
            }
        )
    )


def text(seed: int) -> str:
    """8-16 words, always the same ones for a seed."""
    chosen = random.Random(seed)
    return " ".join([str(seed), *chosen.choices(WORDS, k=8 + seed % 9)])


def document(source: str, **more: Any) -> dict[str, Any]:
    """A job over one Parquet file."""
    return {
        "source": {"format": "parquet", "path": source},
        "labels": LABELS,
        "output": {"path": f"out-{source}"},
        **more,
    }


def repeats() -> None:
    """Distinct texts, repeated texts, and both again."""
    table = Table("100,000 rows", "run", "records/s", "to distinct", "tokens read", "cached", box=None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(pa.table({"text": [text(9 * n) for n in range(ROWS)]}), folder / "distinct.parquet")
        order = random.Random(0).sample(range(ROWS), ROWS)
        pq.write_table(pa.table({"text": [text(9 * (n % (ROWS // 10))) for n in order]}), folder / "repeated.parquet")
        first = 0.0
        for run in ("first", "second"):
            for source in ("distinct", "repeated"):
                url = f"sqlite:///{folder}/{source}.sqlite"
                figures = run_one(folder, document(f"{source}.parquet", cache=url), instant=False)
                first = first or figures["rate"]
                ratio, rate = figures["rate"] / first, f"{figures['rate']:,.0f}"
                table.add_row(source, run, rate, f"{ratio:.1f}", f"{figures['tokens']:,}", f"{figures['cached']:,}")
    console.print(table)


def documents() -> None:
    """A PDF of 20 pages, first and cached, five times."""
    import pymupdf

    pdf = pymupdf.open()
    for number in range(20):
        page = pdf.new_page()
        page.insert_textbox(pymupdf.Rect(40, 40, 550, 800), f"Page {number}. " + text(number) * 20)
    data = pdf.tobytes()
    classifier = Classifier.of(LABELS)
    with tempfile.TemporaryDirectory() as name:
        urls = [f"sqlite:///{name}/answers.sqlite", f"sqlite:///{name}/answers.sqlite?ttl_days=30"]
        first, cached = [], []
        for turn in range(6):
            record = Record(str(turn), f"turn {turn}", classifier, attachments=(Attachment("file", 1, "", data),))
            for url, times in zip(urls, (first, cached), strict=True):  # two engines: the second has an empty memory
                engine = load_cached_engine(url, "embedded", "embedded", "fail")
                start = time.perf_counter()
                engine.classify([record])
                times.append(time.perf_counter() - start)
                engine.flush()
    table = Table("a PDF of 20 pages", "ms", "share", box=None)
    best, again = min(first[1:]) * 1000, max(cached[1:]) * 1000  # the first turn starts the sandbox
    table.add_row("read (fastest of 5)", f"{best:,.1f}", "100%")
    table.add_row("cached (slowest of 5)", f"{again:,.1f}", f"{again / best:.2%}")
    console.print(table)


def dedup() -> None:
    """Model calls and memory of global dedup."""
    table = Table("one text, times", "distinct", "model calls", "records/s", "peak MB", "peak to first", box=None)
    first = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for times in (0, 1_000_000, 2_000_000):
            texts = [text(9 * n) for n in range(ROWS)]
            step = times // ROWS
            rows = (body for one in texts for body in (one, *["the very same text"] * step))
            pq.write_table(pa.table({"text": list(rows)}), folder / "rows.parquet", row_group_size=50_000)
            figures = run_one(folder, document("rows.parquet", cache="none", dedup="global"), instant=True)
            if figures["results"] != ROWS + times:
                raise SystemExit(f"{ROWS + times} rows went in, {figures['results']} came out")
            first = first or figures["peak_bytes"]
            peak, rate = figures["peak_bytes"], f"{figures['rate']:,.0f}"
            distinct = f"{ROWS + bool(times):,}"
            calls = f"{figures['calls']:,}"
            table.add_row(f"{times:,}", distinct, calls, rate, f"{peak / 1e6:,.0f}", f"{peak / first:.2f}")
    console.print(table)


def answer_for(number: int) -> Answer:
    """What a right cache has under a number."""
    return Answer(LABELS[number % 3], None, number / KEYS, number, None, "fake", 1.0)


def key_of(number: int) -> bytes:
    """A fingerprint."""
    return number.to_bytes(20, "big")


def hammer_one(url: str, seed: int, folder: str) -> None:
    """Reads, checks and writes until it is killed; counts go to a file of its own."""
    opened = open_cache(url)
    assert opened is not None
    cache = GuardedCache(opened, pause_s=0.0)
    chosen = random.Random(seed)
    batches = hits = wrong = errors = 0
    while True:
        numbers = chosen.sample(range(KEYS), 500)
        keys = {key_of(number): number for number in numbers}
        found = cache.get(keys)
        wrong += sum(from_entry(key, entry) != answer_for(keys[key]) for key, entry in found.items())
        cache.put({key: to_entry(key, answer_for(number)) for key, number in keys.items()})
        batches, hits, errors = batches + 1, hits + len(found), errors + cache.take_errors()
        Path(folder, f"{os.getpid()}.json").write_text(json.dumps([batches, hits, wrong, errors]))


def hammer() -> None:
    """Both kinds of cache, with processes killed."""
    table = Table("cache", "processes killed", "look-ups", "hits", "wrong", "errors", "bad entries after", box=None)
    with tempfile.TemporaryDirectory() as name, RedisServer() as server:
        for kind, url in (("SQLite", f"sqlite:///{name}/answers.sqlite"), ("Redis", server.url)):
            folder = Path(name) / kind
            folder.mkdir()
            killed = _hammer(url, folder)
            counts = [json.loads(path.read_text() or "[0,0,0,0]") for path in folder.iterdir()]
            batches, hits, wrong, errors = (sum(column) for column in zip(*counts, strict=True))
            cache = open_cache(url)
            assert cache is not None
            bad = _bad_entries(cache)
            cache.close()
            looked = f"{batches * 500:,}"
            table.add_row(kind, str(killed), looked, f"{hits:,}", str(wrong), str(errors), str(bad))
    console.print(table)


def _hammer(url: str, folder: Path) -> int:
    context = multiprocessing.get_context("spawn")
    seeds = iter(range(1_000_000))

    def start() -> Any:
        process = context.Process(target=hammer_one, args=(url, next(seeds), str(folder)), daemon=True)
        process.start()
        return process

    processes = [start() for _ in range(HAMMERS)]
    for turn in range(HAMMER_S):
        time.sleep(1)
        victim = turn % HAMMERS
        os.kill(processes[victim].pid, signal.SIGKILL)
        processes[victim].join()
        processes[victim] = start()
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    return HAMMER_S


def _bad_entries(cache: Cache) -> int:
    entries = cache.get([key_of(number) for number in range(KEYS)])
    return sum(from_entry(key, entry) != answer_for(int.from_bytes(key, "big")) for key, entry in entries.items())


if __name__ == "__main__":
    if sys.argv[1:2] == ["job"]:
        job(*sys.argv[2:])
    else:
        for section in sys.argv[1:] or ["repeats", "documents", "dedup", "hammer"]:
            {"repeats": repeats, "documents": documents, "dedup": dedup, "hammer": hammer}[section]()
