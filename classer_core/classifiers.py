"""Classifier: labels with their descriptions, examples and settings, and the checks of these fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from classer_core.errors import FailureCode, RecordError
from classer_core.learned import Learned
from classer_core.limits import Limits

MAX_LABELS = 200
MAX_LABEL_CHARS = 100
MODES = ("single", "multi")
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Classifier:
    """Labels and everything that decides which of them a text gets.

    Build it with `Classifier.of`, which checks the fields and sorts labels and examples: classifiers that differ only
    in the order of these are equal and give bit-identical answers.

    Attributes:
        labels: sorted, unique.
        descriptions: (label, what it means), sorted by label.
        examples: (label, example texts), sorted.
        text_type: what a text is, such as "support ticket".
        mode: "single" for exactly one label per text, "multi" for any number.
        threshold: in mode multi, the probability (0-1) from which a label is given.
        learned: the head that `classer tune` fitted.
        limits: from which certainty a cascade trusts its first model, as `classer certify` has proven.
        saved_as: `name@vN` of a saved classifier.
    """

    labels: tuple[str, ...]
    descriptions: tuple[tuple[str, str], ...] = ()
    examples: tuple[tuple[str, tuple[str, ...]], ...] = ()
    text_type: str | None = None
    mode: str = "single"
    threshold: float = DEFAULT_THRESHOLD
    learned: Learned | None = None
    limits: Limits | None = None
    saved_as: str | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        labels: Sequence[str] | None,
        descriptions: Mapping[str, str] | None = None,
        examples: Mapping[str, Sequence[str]] | None = None,
        text_type: str | None = None,
        mode: str | None = None,
        threshold: float | None = None,
        learned: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> Classifier:
        """Return the classifier with these fields, after checking them.

        Args:
            labels: 1-200 unique labels of 1-100 characters.
            descriptions: label -> what it means.
            examples: label -> example texts.
            text_type: what a text is; at most 100 characters.
            mode: "single" or "multi".
            threshold: 0-1.
            learned: as `Learned.to_mapping` returns it.
            limits: as `Limits.to_mapping` returns it.

        Raises:
            RecordError: a field is invalid (`field` says which), or `learned` or `limits` is damaged or was made
                for other labels.
        """
        checked = _labels(labels)
        return cls(
            labels=checked,
            descriptions=_descriptions(descriptions, checked),
            examples=_examples(examples, checked),
            text_type=_text_type(text_type),
            mode=_mode(mode),
            threshold=_threshold(threshold),
            learned=_learned(learned, checked, _mode(mode)),
            limits=_limits(limits, checked),
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields that are set, as `of` takes them; files and the digest are made of these."""
        fields = {
            "labels": list(self.labels),
            "descriptions": dict(self.descriptions),
            "examples": {label: list(texts) for label, texts in self.examples},
            "text_type": self.text_type,
            "mode": self.mode,
            "threshold": self.threshold,
            "learned": self.learned.to_mapping() if self.learned is not None else None,
            "limits": self.limits.to_mapping() if self.limits is not None else None,
        }
        return {name: value for name, value in fields.items() if value not in (None, {})}

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of all fields but `saved_as`, in hex."""
        canonical = json.dumps(self.to_mapping(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def is_exclusive(self) -> bool:
        """Return whether exactly one label is right; otherwise each label is right or wrong by itself."""
        return self.mode == "single" and len(self.labels) > 1

    def restricted(self, labels: Sequence[str]) -> Classifier:
        """Return this classifier with some of its labels only, and `as_written`."""
        kept = frozenset(labels)
        return replace(
            self,
            labels=tuple(label for label in self.labels if label in kept),
            descriptions=tuple(item for item in self.descriptions if item[0] in kept),
            examples=tuple(item for item in self.examples if item[0] in kept),
            learned=None,
            limits=None,
        )

    def as_written(self) -> Classifier:
        """Return this classifier without what `classer tune` and `classer certify` have made of the words in it."""
        return self if self.learned is None and self.limits is None else replace(self, learned=None, limits=None)

    @cached_property
    def name(self) -> str:
        """Return `name@vN` for a saved classifier, else `inline:` and the start of the digest."""
        return self.saved_as or f"inline:{self.digest[:12]}"


def is_clean(text: str) -> bool:
    r"""Return whether a string has neither NUL nor lone surrogates, which sinks can't store.

    >>> is_clean("café"), is_clean("a\x00b"), is_clean("\ud800")
    (True, False, False)
    """
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any, limit: int = 200) -> str:
    """Return a value as messages show it: at most `limit` characters, and printable.

    >>> shown(["a", "b"]), shown("a long text", limit=8)
    ("['a', 'b']", "'a long…")
    """
    text = ascii(value) if isinstance(value, str) and not is_clean(value) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _labels(labels: Any) -> tuple[str, ...]:
    def invalid(message: str) -> RecordError:
        return RecordError(FailureCode.LABELS_INVALID, message, "labels")

    if labels is None:
        raise invalid(f"labels are missing: give 1-{MAX_LABELS} labels in the record or in the job")
    if isinstance(labels, str | bytes | Mapping) or not isinstance(labels, Sequence):
        raise invalid(f"labels must be a list of strings, got {shown(labels)}")
    if not 1 <= len(labels) <= MAX_LABELS:
        raise invalid(f"there must be 1-{MAX_LABELS} labels, got {len(labels)}")
    seen = set()
    for label in labels:
        if not isinstance(label, str) or not label.strip() or not is_clean(label):
            raise invalid(f"a label must be a non-empty string, got {shown(label)}")
        if len(label) > MAX_LABEL_CHARS:
            raise invalid(f"a label must have at most {MAX_LABEL_CHARS} characters, got {len(label)}: {shown(label)}")
        if label in seen:
            raise invalid(f"Labels must be unique: {shown(label)} is given twice")
        seen.add(label)
    return tuple(sorted(labels))


def _descriptions(value: Any, labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    code, field = FailureCode.DESCRIPTIONS_INVALID, "descriptions"
    if not value:
        return ()
    if not isinstance(value, Mapping):
        raise RecordError(code, f"descriptions must map labels to texts, got {shown(value)}", field)
    for label, text in value.items():
        _check_key(code, field, label, labels)
        if not isinstance(text, str) or not is_clean(text):
            raise RecordError(code, f"the description of {shown(label)} must be a string, got {shown(text)}", field)
    return tuple(sorted((label, text) for label, text in value.items() if text.strip()))


def _examples(value: Any, labels: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    code, field = FailureCode.EXAMPLES_INVALID, "examples"
    if not value:
        return ()
    if not isinstance(value, Mapping):
        raise RecordError(code, f"examples must map labels to lists of texts, got {shown(value)}", field)
    for label, texts in value.items():
        _check_key(code, field, label, labels)
        is_list = isinstance(texts, Sequence) and not isinstance(texts, str | bytes)
        if not is_list or not all(isinstance(text, str) and text.strip() and is_clean(text) for text in texts):
            raise RecordError(code, f"examples of {shown(label)} must be non-empty strings, got {shown(texts)}", field)
    return tuple(sorted((label, tuple(sorted(texts))) for label, texts in value.items() if texts))


def _check_key(code: FailureCode, field: str, label: Any, labels: tuple[str, ...]) -> None:
    if label not in labels:
        raise RecordError(code, f"{field} has the key {shown(label)}, which is not one of the labels", field)


def _text_type(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_LABEL_CHARS or not is_clean(value):
        message = f"text_type must be a string of at most {MAX_LABEL_CHARS} characters, got {shown(value)}"
        raise RecordError(FailureCode.TEXT_TYPE_INVALID, message, "text_type")
    return value.strip() or None


def _mode(value: Any) -> str:
    if value is None:
        return "single"
    if value not in MODES:
        raise RecordError(FailureCode.MODE_INVALID, f"mode must be single or multi, got {shown(value)}", "mode")
    return str(value)


def _threshold(value: Any) -> float:
    if value is None:
        return DEFAULT_THRESHOLD
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        message = f"threshold must be a number from 0 to 1, got {shown(value)}"
        raise RecordError(FailureCode.THRESHOLD_INVALID, message, "threshold")
    return float(value)


def _learned(value: Any, labels: tuple[str, ...], mode: str) -> Learned | None:
    if value is None:
        return None
    try:
        learned = Learned.of(value)
    except ValueError as error:
        raise RecordError(FailureCode.CLASSIFIER_INVALID, str(error), "classifier") from error
    if sorted(learned.labels) != sorted(labels) or mode == "multi":
        message = (
            f"the classifier was tuned for exactly one of the labels {shown(list(learned.labels))}, and its labels or "
            "mode have changed: tune it again"
        )
        raise RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
    return learned


def _limits(value: Any, labels: tuple[str, ...]) -> Limits | None:
    if value is None:
        return None
    try:
        limits = Limits.of(value)
    except ValueError as error:
        raise RecordError(FailureCode.CLASSIFIER_INVALID, str(error), "classifier") from error
    if unknown := [label for label, _ in limits.from_certainty if label not in labels]:
        message = f"the classifier was certified with the label {shown(unknown[0])}, which it lacks: certify it again"
        raise RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
    return limits
