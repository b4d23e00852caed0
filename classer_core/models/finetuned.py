"""Kind `finetuned:ID`: sequence classifiers whose own labels are the job's, matched by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from classer_core.classifiers import Classifier, shown
from classer_core.errors import FailureCode, RecordError
from classer_core.models import Model
from classer_core.models.hub import failed
from classer_core.models.networks import Floats, Network
from classer_core.models.windowed import Values, WindowedModel, WindowScores
from classer_core.models.windows import TokenIds, Tokenizer

if TYPE_CHECKING:
    from classer_core.models.spec import ModelSpec

_SEPARATORS = re.compile(r"[\s_-]+")
_UNNAMED = re.compile(r"label \d+")
TINY = 1e-9


def load(spec: ModelSpec, threads: int | None = None) -> Model:
    """Load a fine-tuned classifier.

    Raises:
        ModelLoadError: it can't be loaded, or does not name its labels.
    """
    network = Network.load(spec, "finetuned", "AutoModelForSequenceClassification", threads)
    names = network.files.label_names
    if len(names) < 2:
        raise failed(spec, "it has a single output", f"Write reranker:{spec.source} if it scores pairs of texts")
    columns = {_plain(name): number for number, name in enumerate(names)}
    if any(_UNNAMED.fullmatch(name) for name in columns):
        message = f"its config.json does not name its labels (id2label is {shown(names)})"
        raise failed(spec, message, "Write their names to id2label of its config.json")
    return WindowedModel(FinetunedScorer(network, columns, f"finetuned:{spec.source}"))


class FinetunedScorer:
    """Scores windows with a sequence classifier.

    The labels of a job may be some of the model's: a text gets the best of these. Descriptions and text_type have no
    input to go to; examples correct the scores.

    Args:
        network: the loaded model.
        columns: plain name of a label -> position of its output.
        name: kind and id.
    """

    def __init__(self, network: Network, columns: Mapping[str, int], name: str) -> None:
        self._network = network
        self._columns = columns
        self._tokenizer = Tokenizer(network.tokenizer.backend_tokenizer, network.window_tokens)
        self._is_multi = network.model.config.problem_type == "multi_label_classification"
        self.id = f"{name}@{network.digest}-{network.number_format}"

    def windows(self, texts: Sequence[str], classifiers: Sequence[Classifier]) -> list[list[TokenIds] | None]:
        """Return the windows of each text as token ids with special tokens."""
        return self._tokenizer.windows(texts)

    def score_windows(
        self, windows: Sequence[TokenIds], classifiers: Sequence[Classifier]
    ) -> list[WindowScores | RecordError]:
        """Return the model's own logits for the labels of each classifier; an error for labels it does not have."""
        positions = [self._positions(classifier) for classifier in classifiers]
        known = [n for n, own in enumerate(positions) if not isinstance(own, RecordError)]
        logits = dict(zip(known, self._network.logits([windows[n] for n in known]) if known else (), strict=True))
        scores: list[WindowScores | RecordError] = []
        for n, own in enumerate(positions):
            if isinstance(own, RecordError):
                scores.append(own)
            else:
                scores.append(WindowScores(self._values(logits[n], own, classifiers[n]), len(windows[n])))
        return scores

    def _positions(self, classifier: Classifier) -> list[int] | RecordError:
        unknown = [label for label in classifier.labels if _plain(label) not in self._columns]
        if not unknown:
            return [self._columns[_plain(label)] for label in classifier.labels]
        own = ", ".join(sorted(self._columns))
        message = f"the model has no label {shown(unknown[0])}. Its labels: {own[:300]}"
        return RecordError(FailureCode.LABELS_INVALID, message, "labels")

    def _values(self, logits: Floats, positions: list[int], classifier: Classifier) -> Values:
        if classifier.is_exclusive or self._is_multi:
            return logits[positions]
        # A model that was trained for one label per text: the log odds of each label against all others.
        weights = np.exp(logits.astype(np.float64) - logits.max())
        shares = (weights / weights.sum())[positions].clip(TINY, 1 - TINY)
        return np.asarray(np.log(shares / (1 - shares)), np.float32)


def _plain(name: str) -> str:
    """Return a label as it is compared.

    >>> _plain("Credit_Card "), _plain("credit-card")
    ('credit card', 'credit card')
    """
    return _SEPARATORS.sub(" ", name.casefold()).strip()
