"""Gatherer: the figures of an output, from its rows batch by batch."""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classer_core.records import RESULT_SCHEMA
from classer_core.reports.report import FailureFigures, LabelFigures, RunReport, ShownRow

BINS = 20
SHOWN_ROWS = 25
SHOWN_FAILURES = 3
SHOWN_CHARS = 400
NAMES_KEPT = 20
# The columns that are looked at, and the text as `text`. A batch may lack some of them.
COLUMNS = (
    *("id", "label", "labels", "confidence", "abstained", "tokens", "latency_ms", "cached"),
    *("classifier", "model", "coverage", "evidence"),
)
TEXT = "text"
GATHERED_SCHEMA = pa.schema(
    [*(RESULT_SCHEMA.field(name).with_nullable(True) for name in COLUMNS), pa.field(TEXT, pa.string())]
)
Counts = npt.NDArray[np.int64]
Heap = list[tuple[float, int, ShownRow]]


class Gatherer:
    """Adds up the rows of an output. Memory does not grow with their number.

    Args:
        redact: whether texts, messages and records of failures are left out.
    """

    def __init__(self, redact: bool = False) -> None:
        self._redact = redact
        self.rows = self.abstained = self.cached = self.tokens = self.partly_read = self.failed = 0
        self.sure_sum, self.sure_count = 0.0, 0
        self.histogram: Counts = np.zeros(BINS, np.int64)
        self.labels: dict[str, Counts] = {}
        self.unlabelled = 0
        self._label_sums: dict[str, float] = {}
        self.evidence: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._classifiers: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._samples: dict[str, list[tuple[str, str | None, str | None]]] = {}
        self._unsure: Heap = []
        self._slowest: Heap = []
        self._order = count()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take results: a batch of `GATHERED_SCHEMA`."""
        self.rows += len(batch)
        self.abstained += _true(batch["abstained"])
        self.cached += _true(batch["cached"])
        found: Any = batch["cached"].to_numpy(zero_copy_only=False)
        read = batch["tokens"].filter(pa.array([not cached for cached in found]))
        self.tokens += pc.sum(read).as_py() or 0
        self.partly_read += _true(pc.less(batch["coverage"], pa.scalar(1.0)))
        for column, counter in (
            ("evidence", self.evidence),
            ("model", self._models),
            ("classifier", self._classifiers),
        ):
            counter.update(_value_counts(batch[column]))
        sure = batch["confidence"].to_numpy(zero_copy_only=False).astype(np.float64)
        given = sure[~np.isnan(sure)]
        self.sure_sum += float(given.sum())
        self.sure_count += len(given)
        self.histogram += np.bincount(bins_of(given), minlength=BINS)
        self._add_labels(batch, sure)
        self._show(self._unsure, batch, -sure)
        self._show(self._slowest, batch, batch["latency_ms"].to_numpy(zero_copy_only=False).astype(np.float64))

    def add_failures(self, batch: pa.RecordBatch) -> None:
        """Take failures: a batch with `id`, `code`, `message` and `record`."""
        self.failed += len(batch)
        for row, code in enumerate(map(str, batch["code"].to_pylist())):
            self._failures[code] += 1
            samples = self._samples.setdefault(code, [])
            if len(samples) < SHOWN_FAILURES:
                message, record = (None if self._redact else batch[name][row].as_py() for name in ("message", "record"))
                samples.append((str(batch["id"][row].as_py()), cut(message), cut(record)))

    def report(self, name: str, price: float | None = None, currency: str | None = None) -> RunReport:
        """Return the figures of all rows so far.

        Args:
            name: of the output.
            price: of a million tokens; None if it is not known.
            currency: of the price.
        """
        labels = [
            LabelFigures(label, total, total / max(self.rows, 1), self._label_sums[label] / total, histogram.tolist())
            for label, histogram in self.labels.items()
            if (total := int(histogram.sum()))
        ]
        if self.unlabelled:
            share = self.unlabelled / self.rows
            labels.append(LabelFigures(None, self.unlabelled, share, None, [0] * BINS))
        return RunReport(
            name=name,
            rows=self.rows,
            failed=self.failed,
            abstained=self.abstained,
            cached=self.cached,
            confidence=self.sure_sum / self.sure_count if self.sure_count else None,
            tokens=self.tokens,
            cost=None if price is None else self.tokens * price / 1e6,
            currency=currency,
            labels=sorted(labels, key=lambda item: (-item.count, item.label or "")),
            histogram=self.histogram.tolist(),
            failures=[FailureFigures(code, many, self._samples[code]) for code, many in self._failures.most_common()],
            unsure=_best(self._unsure),
            slowest=_best(self._slowest),
            evidence=self.evidence.most_common(NAMES_KEPT),
            partly_read=self.partly_read,
            models=[model for model, _ in self._models.most_common(NAMES_KEPT)],
            classifiers=[classifier for classifier, _ in self._classifiers.most_common(NAMES_KEPT)],
            redacted=self._redact,
        )

    def _add_labels(self, batch: pa.RecordBatch, sure: npt.NDArray[np.float64]) -> None:
        labels, pairs = batch["label"], batch["labels"]
        has_pairs = pc.list_value_length(pairs.filter(pairs.is_valid())).to_numpy(zero_copy_only=False)
        flat = pc.list_flatten(pairs)
        names = pa.concat_arrays([labels.drop_null(), pc.struct_field(flat, "label")])
        of_pairs = pc.struct_field(flat, "confidence").to_numpy(zero_copy_only=False)
        confidences = np.concatenate([sure[labels.is_valid().to_numpy(zero_copy_only=False)], of_pairs])
        coded = names.dictionary_encode()
        codes, known = coded.indices.to_numpy(zero_copy_only=False), ~np.isnan(confidences)
        for code, label in enumerate(coded.dictionary.to_pylist()):
            mine = confidences[(codes == code) & known]
            found = np.bincount(bins_of(mine), minlength=BINS)
            self.labels[label] = self.labels.get(label, np.zeros(BINS, np.int64)) + found
            self._label_sums[label] = self._label_sums.get(label, 0.0) + float(mine.sum())
        self.unlabelled += len(batch) - (len(labels) - labels.null_count) - int(np.count_nonzero(has_pairs))

    def _show(self, heap: Heap, batch: pa.RecordBatch, weight: npt.NDArray[np.float64]) -> None:
        """Keep the rows of the largest weights; of equal ones the first."""
        least = heap[0][0] if len(heap) == SHOWN_ROWS else -np.inf
        rows = np.flatnonzero(weight > least)
        for row in rows[np.argsort(-weight[rows], kind="stable")[:SHOWN_ROWS]].tolist():
            item = (float(weight[row]), -next(self._order), self._shown(batch, row))
            (heapq.heappush if len(heap) < SHOWN_ROWS else heapq.heappushpop)(heap, item)

    def _shown(self, batch: pa.RecordBatch, row: int) -> ShownRow:
        value: dict[str, Any] = {name: batch[name][row].as_py() for name in GATHERED_SCHEMA.names}
        given = [item["label"] for item in value["labels"] or ()] or [value["label"] or ""]
        text = None if self._redact else cut(value[TEXT])
        latency = value["latency_ms"] or 0.0
        return ShownRow(str(value["id"]), text, ", ".join(given), value["confidence"], value["evidence"], latency)


def bins_of(confidences: npt.NDArray[np.float64]) -> Counts:
    """Return the bin of each confidence, 0 to `BINS` - 1.

    >>> bins_of(np.array([0.0, 0.0499, 0.05, 1.0])).tolist()
    [0, 0, 1, 19]
    """
    return np.clip((confidences * BINS + 1e-9).astype(np.int64), 0, BINS - 1)


def cut(text: Any) -> str | None:
    """Return a text as it is shown: in one line, at most `SHOWN_CHARS` characters."""
    if text is None:
        return None
    line = " ".join(str(text)[: 4 * SHOWN_CHARS].split())
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"


def _best(heap: Heap) -> list[ShownRow]:
    return [row for _, _, row in sorted(heap, reverse=True)]


def _true(values: Any) -> int:
    return int(pc.sum(pc.fill_null(values, False)).as_py() or 0)


def _value_counts(values: Any) -> dict[str, int]:
    return {item["values"]: item["counts"] for item in pc.value_counts(values.drop_null()).to_pylist()}
