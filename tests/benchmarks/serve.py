"""`classer serve` under load: `CLASSER_CORPUS=... python -m tests.benchmarks.serve [SECONDS]`.

Short texts of banking77 for the embedded model, each asked once, by clients on the same cores: one request at a time,
64 at a time, 64 at a time against the same engine in a handler that asks it for one text after the other, and 64 at a
time where all answers are known.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

SECONDS = 20.0
CLIENTS = 64
LABELS = ["card", "transfer", "exchange rate", "cash withdrawal", "account", "identity check"]
START_S = 120
NAIVE = """
import sys, threading, uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route
from classer_core import Classifier, Record
from classer_core.engine import load_engine

engine, lock = load_engine("embedded", "none", "fail"), threading.Lock()

def answer(document):
    with lock:
        return engine.classify([Record("0", document["text"], Classifier.of(document["labels"]))])[0]

async def classify(request):
    result = await run_in_threadpool(answer, await request.json())
    return JSONResponse({"label": result.label, "confidence": result.confidence})

async def ready(request):
    return JSONResponse({})

routes = [Route("/v1/classify", classify, methods=["POST"]), Route("/readyz", ready)]
uvicorn.run(Starlette(routes=routes), port=int(sys.argv[1]), log_level="error")
"""


@dataclass(frozen=True)
class Load:
    """What a load gave: requests a second, milliseconds of the middle and the slowest twentieth, wrong answers."""

    rate: float
    median_ms: float
    p95_ms: float
    errors: int


def texts() -> Iterator[str]:
    """Yield texts that are all different: those of banking77, numbered."""
    path = Path(os.environ["CLASSER_CORPUS"]) / "text" / "banking77" / "test.jsonl"
    rows = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    for number in itertools.count():
        yield f"{rows[number % len(rows)]} ({number})"


async def load(port: int, clients: int, seconds: float, asked: Iterator[str]) -> Load:
    """Ask as many requests as `clients` that wait for each answer get through."""
    latencies: list[float] = []
    errors = 0
    end = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal errors
        while (start := time.perf_counter()) < end:
            body = {"text": next(asked), "labels": LABELS, "priority": "fast"}
            async with session.post(f"http://127.0.0.1:{port}/v1/classify", json=body) as response:
                document = await response.json()
                errors += response.status != 200 or document["label"] not in LABELS
            latencies.append((time.perf_counter() - start) * 1000)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    median, p95 = np.percentile(latencies, [50, 95])
    return Load(len(latencies) / seconds, float(median), float(p95), errors)


@contextmanager
def running(command: list[str], port: int) -> Iterator[psutil.Process]:
    """Start a server and wait until it is ready."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(_ready(port))
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


async def _ready(port: int) -> None:
    end = time.monotonic() + START_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < end:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise TimeoutError("the server did not start")


def main(seconds: float) -> None:
    """Print the table."""
    asked = texts()
    rows: dict[str, Load] = {}
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [str(Path(sys.executable).parent / "classer"), "serve", "--port", str(port), "--jobs", folder]
        with running([*command, "--cache", "none", "--visual-model", "none"], port) as server:
            asyncio.run(load(port, CLIENTS, 3, asked))
            before = server.memory_info().rss
            rows["one at a time"] = asyncio.run(load(port, 1, seconds / 2, asked))
            rows[f"{CLIENTS} at a time"] = asyncio.run(load(port, CLIENTS, seconds, asked))
            rows["known answers"] = asyncio.run(load(port, CLIENTS, seconds / 2, itertools.repeat("my card is lost")))
            grown = server.memory_info().rss - before
        port = free_port()
        with running([sys.executable, "-c", NAIVE, str(port)], port):
            asyncio.run(load(port, CLIENTS, 3, asked))
            rows["naive handler"] = asyncio.run(load(port, CLIENTS, seconds, asked))
    table: Any = Table("short fast texts, one label of 6", "requests/s", "median ms", "P95 ms", "errors", box=None)
    for name, found in rows.items():
        table.add_row(name, f"{found.rate:,.0f}", f"{found.median_ms:.1f}", f"{found.p95_ms:.1f}", str(found.errors))
    console = Console()
    console.print(table)
    together = rows[f"{CLIENTS} at a time"].rate
    console.print(
        f"{together / rows['one at a time'].rate:.1f} times one at a time, {together / rows['naive handler'].rate:.1f} "
        f"times the naive handler; memory grew by {grown / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
