"""The labelled text sets of `$CLASSER_CORPUS/text` and their vectors, computed once for each model."""

from __future__ import annotations

import hashlib
import json
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classer_core import Classifier
from classer_core.classifiers import MAX_LABEL_CHARS
from classer_core.heads import Vectors
from classer_core.models.sentence_embedding import EmbeddingModel
from classer_core.training.evaluate import MAX_ROWS, OTHER_LANGUAGES, SEEN
from classer_core.training.tasks import Recipe, pool_rows

MULTI_LABEL = "moderation_multilabel"
SHOTS = 8
# Of a task that is kept out: enough that chance hardly moves its calibration error, few enough to be read in a minute.
KEPT_OUT_ROWS = 600
MAX_LABELS = 150


@dataclass(frozen=True)
class LabelledSet:
    """One folder of the corpus: up to 1,000 test rows, and train rows for examples."""

    name: str

    @property
    def pooled(self) -> bool:
        """Whether the embedded model was trained on texts of the same source."""
        return self.name in SEEN

    @cached_property
    def about(self) -> dict[str, Any]:
        """labels.json."""
        found: dict[str, Any] = json.loads((self._folder / "labels.json").read_text(encoding="utf-8"))
        return found

    @cached_property
    def test(self) -> list[dict[str, Any]]:
        """Test rows."""
        return self._rows("test")[:MAX_ROWS]

    @cached_property
    def texts(self) -> list[str]:
        """Texts of the test rows."""
        return [row["text"] for row in self.test]

    @cached_property
    def gold(self) -> npt.NDArray[np.int64]:
        """Positions of the test rows' labels among the classifier's."""
        labels = self.classifier().labels
        return np.array([labels.index(row["label"]) for row in self.test])

    def classifier(self, **fields: Any) -> Classifier:
        """The set's labels, and whatever else is said of them."""
        return Classifier.of(sorted(self.about["labels"]), **fields)

    def shots(self, count: int) -> dict[str, list[str]]:
        """The first train texts of each label."""
        rows = self._rows("train")
        return {label: [row["text"] for row in rows if row["label"] == label][:count] for label in self.about["labels"]}

    def train(self, most: int) -> dict[str, str]:
        """Train texts, drawn at random, with their labels."""
        rows = self._rows("train")
        random.Random(0).shuffle(rows)
        return {row["text"]: row["label"] for row in rows[:most]}

    @property
    def _folder(self) -> Path:
        return Path(os.environ["CLASSER_CORPUS"]) / "text" / self.name

    def _rows(self, part: str) -> list[dict[str, Any]]:
        with (self._folder / f"{part}.jsonl").open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]


@dataclass(frozen=True)
class KeptOut:
    """One task of the pools that the embedded weights were not trained on: 8 texts a label for examples, and others."""

    name: str

    @cached_property
    def _by_label(self) -> dict[str, list[dict[str, Any]]]:
        rows = pool_rows(_corpus(), self.name)
        random.Random(1).shuffle(rows)
        labels = sorted({row["label"] for row in rows if len(row["label"]) <= MAX_LABEL_CHARS})[:MAX_LABELS]
        return {label: [row for row in rows if row["label"] == label] for label in labels}

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows to judge by."""
        rest = [row for rows in self._by_label.values() for row in rows[SHOTS:]]
        random.Random(2).shuffle(rest)
        return rest[:KEPT_OUT_ROWS]

    @property
    def texts(self) -> list[str]:
        """Texts of the rows."""
        return [row["text"] for row in self.rows]

    @cached_property
    def gold(self) -> npt.NDArray[np.int64]:
        """Positions of the rows' labels among the classifier's."""
        labels = self.classifier().labels
        return np.array([labels.index(row["label"]) for row in self.rows])

    def classifier(self, **fields: Any) -> Classifier:
        """The task's labels, and whatever else is said of them."""
        return Classifier.of(list(self._by_label), **fields)

    def shots(self, count: int) -> dict[str, list[str]]:
        """The first texts of each label."""
        return {label: [row["text"] for row in rows[: min(count, SHOTS)]] for label, rows in self._by_label.items()}

    @property
    def is_english(self) -> bool:
        """Whether its texts are in English."""
        return (_corpus() / "train_pool_en" / f"{self.name}.jsonl").exists()

    @staticmethod
    def source_of(name: str) -> str:
        """Return what tasks with texts of one source share.

        >>> KeptOut.source_of("aviation_causes")
        'aviation'
        """
        first = name.partition("_")[0]
        return "argument" if first == "debate" else first


def kept_out() -> list[KeptOut]:
    """Return the tasks that judge the weights."""
    return [KeptOut(name) for name in Recipe.load().kept_out]


def related() -> list[KeptOut]:
    """Return the tasks that share texts with those, and are not trained on either."""
    return [KeptOut(name) for name in Recipe.load().related]


def _corpus() -> Path:
    return Path(os.environ["CLASSER_CORPUS"])


class Remembering(EmbeddingModel):
    """The embedding model, with a file of the vectors that it has computed before, in the temporary folder."""

    _folder: Path
    _known: dict[str, Vectors]

    @classmethod
    def load(cls, name: str, threads: int | None = None) -> Remembering:
        """See `EmbeddingModel.load`."""
        model = super().load(name, threads)
        assert isinstance(model, Remembering)
        model._folder = Path(tempfile.gettempdir()) / "classer-benchmarks" / model.id.replace("/", "_")
        model._folder.mkdir(parents=True, exist_ok=True)
        model._known = {}
        return model

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `EmbeddingModel.embed`."""
        if not all(text in self._known for text in texts):
            key = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]
            path = self._folder / f"{key}.npy"
            if not path.exists():
                np.save(path, super().embed(texts))
            self._known.update(zip(texts, np.load(path), strict=True))
        return np.stack([self._known[text] for text in texts])


def english() -> Iterator[LabelledSet]:
    """The 18 English single-label sets."""
    folders = sorted((Path(os.environ["CLASSER_CORPUS"]) / "text").iterdir())
    for folder in folders:
        if folder.is_dir() and folder.name not in (*OTHER_LANGUAGES, MULTI_LABEL):
            yield LabelledSet(folder.name)
