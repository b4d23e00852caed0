"""Documents and pictures: nothing lost or hung, speed against the bare library, labels as they are.

    CLASSER_CORPUS=... python -m tests.benchmarks.documents [corpus | speed | accuracy]

corpus    every file of docs/ and images/ in one job: results, failures by code, peak memory
speed     pages/s (text and picture) of our sandbox against plain MuPDF in as many plain processes, alternating
accuracy  the labelled documents and pictures on the embedded models
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from classer_core import Engine, Failure, Record, Result
from classer_core.classifiers import Classifier
from classer_core.contents import Attachment
from classer_core.documents.expanded import ExpandRequest
from classer_core.documents.sandbox import Sandbox
from classer_core.engine import load_engine
from classer_core.hardware import available_cores
from tests.benchmarks.memory import PeakMemory

LABELS = ["invoice or receipt", "scientific paper", "form", "manual or guide", "letter", "photo of a thing", "drawing"]
# Traits of files that nobody can be asked to open.
CLOSED = {
    "damaged",
    "needs-password",
    "encrypted",
    "pdfium-cannot-open",
    "qpdf-cannot-open",
    "corrupt-zip",
    "page-errors",
    "bad-parts",
    "ole2-encrypted",
    "ole2-not-zip",
    "no-main-part",
    "malformed-xml",
    "has-doctype",
    "no-pdf-header",
    "pil-cannot-open",
    "pil-cannot-decode",
    "inflates-over-60-MB",
}
SIDE_PX = 512
ROUNDS = 3
console = Console(width=110)


def folder() -> Path:
    """The shared data."""
    return Path(os.environ["CLASSER_CORPUS"])


def manifest(kind: str, name: str = "manifest") -> list[dict[str, Any]]:
    """Rows of a manifest."""
    with (folder() / kind / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def corpus() -> None:
    """One job over all files."""
    from pipelines.job import parse_job
    from runners.local import run_job

    listed = {row["file"]: row for kind in ("docs", "images") for row in manifest(kind)}
    paths = [str(folder() / name) for name in ("docs/pdf/*", "docs/docx/*", "images/**")]
    with tempfile.TemporaryDirectory() as out, PeakMemory() as peak:
        source = {"format": "documents", "path": paths}
        document = {"source": source, "labels": LABELS, "output": {"path": f"{out}/rows"}}
        job = parse_job(document, folder() / "job.yaml")
        summary = run_job(job, folder().resolve(), console=Console(stderr=True))
        results = pq.read_table(f"{out}/rows").to_pylist()
        failures = pq.read_table(f"{out}/rows-failures").to_pylist()
    ended = Counter(str(Path(row["id"])) for row in results + failures)
    once = sum(ended[name] == 1 for name in listed)
    failed = {row["id"]: row for row in failures}
    opens = [
        name for name, row in listed.items() if not CLOSED & set(row["traits"]) and not _too_long(failed.get(name))
    ]
    answered = sum(name not in failed for name in opens)
    table = Table("ended as", "docs", "images", box=None)
    codes = Counter((row["id"].partition("/")[0], row["code"]) for row in failures)
    table.add_row("result", *(f"{sum(r['id'].startswith(k) for r in results):,}" for k in ("docs", "images")))
    for code in sorted({code for _, code in codes}):
        table.add_row(code, str(codes["docs", code]), str(codes["images", code]))
    console.print(table)
    seconds, gigabytes = summary.seconds, peak.bytes / 1e9
    console.print(f"{once:,} of {len(listed):,} files ended exactly once; {seconds:,.0f} s, peak {gigabytes:.2f} GB")
    console.print(
        f"{answered / len(opens):.2%} of {len(opens):,} undamaged files of up to 20 pages gave a result, not:"
    )
    for name in opens:
        if name in failed:
            message = f"  {failed[name]['code']}: {name}: {failed[name]['message'][:80]}"
            console.print(message, markup=False, highlight=False)


def _too_long(failure: dict[str, Any] | None) -> bool:
    return failure is not None and failure["code"] == "too_many_pages"


def bare(paths: list[str]) -> int:
    """Plain MuPDF in this process: text and picture of each page; pages done."""
    import pymupdf

    pymupdf.TOOLS.mupdf_display_errors(False)
    pages = 0
    for path in paths:
        document = pymupdf.open(stream=Path(path).read_bytes(), filetype="pdf")
        for page in document:
            page.get_text("text")
            zoom = SIDE_PX / max(page.rect.width, page.rect.height)
            _ = page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom), alpha=False).samples
            pages += 1
    return pages


def speed() -> None:
    """Pages a second, ours against bare calls."""
    paths = []
    for row in manifest("docs"):
        ordinary = row["ext"] == "pdf" and not CLOSED & set(row["traits"]) and 1 <= (row["pages"] or 0) <= 20
        if ordinary and row["size"] < 2 << 20 and "generated" not in row["traits"]:
            paths.append(str(folder() / row["file"]))
    paths = paths[:400]
    cores = available_cores()
    sandbox = Sandbox(cores)
    wanted = ExpandRequest("file", "all", SIDE_PX, True, 0)
    sandbox.expand([(Path(path).read_bytes(), wanted) for path in paths[:8]])
    ours, plain = [], []
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(bare, [paths[:4]] * cores)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            pages = sum(pool.imap_unordered(bare, [[path] for path in paths]))
            plain.append(pages / (time.perf_counter() - start))
            start = time.perf_counter()
            expanded = sandbox.expand([(Path(path).read_bytes(), wanted) for path in paths])
            done = sum(len(getattr(answer, "pages", ())) for answer in expanded)
            ours.append(done / (time.perf_counter() - start))
    sandbox.close()
    table = Table(f"{len(paths)} PDFs, {pages} pages", "pages/s", "to plain", box=None)
    table.add_row(f"plain MuPDF, {cores} processes", f"{statistics.median(plain):,.0f}", "1.00")
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, plain, strict=True))
    table.add_row(f"our sandbox, {cores} processes", f"{statistics.median(ours):,.0f}", f"{ratio:.2f}")
    console.print(table)


def accuracy() -> None:
    """Accuracy and mean confidence of each labelled set."""
    engine = load_engine("embedded", "embedded", "truncate")
    table = Table("set", "files", "labels", "accuracy", "mean confidence", "failures", box=None)
    sets: dict[str, list[dict[str, Any]]] = {"documents by type": manifest("docs", "labelled")}
    for row in manifest("images", "labelled"):
        sets.setdefault(f"pictures: {row['set']}", []).append(row)
    for name, rows in sets.items():
        classifier = Classifier.of(sorted({row["label"] for row in rows}))
        outcomes = _classify(engine, rows, classifier)
        results = [(row, outcome) for row, outcome in zip(rows, outcomes, strict=True) if isinstance(outcome, Result)]
        right = sum(outcome.label == row["label"] for row, outcome in results) / len(rows)
        sure = statistics.mean(outcome.confidence or 0 for _, outcome in results)
        failed = len(rows) - len(results)
        table.add_row(name, str(len(rows)), str(len(classifier.labels)), f"{right:.1%}", f"{sure:.2f}", str(failed))
    console.print(table)


def _classify(engine: Engine, rows: list[dict[str, Any]], classifier: Classifier) -> list[Result | Failure]:
    outcomes: list[Result | Failure] = []
    for start in range(0, len(rows), 16):
        records = []
        for row in rows[start : start + 16]:
            attachment = Attachment("file", 1, row["file"], (folder() / row["file"]).read_bytes())
            records.append(Record(row["file"], "", classifier, attachments=(attachment,)))
        outcomes += engine.classify(records)
    return outcomes


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    chosen = sys.argv[1:] or ["corpus", "speed", "accuracy"]
    for section in chosen:
        {"corpus": corpus, "speed": speed, "accuracy": accuracy}[section]()
