"""What a record is sorted into: labels, and everything that says what they mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from classer_core.errors import FailureCode, RecordError
from classer_core.learned import Learned

MAX_LABELS = 200
MAX_LABEL_CHARS = 100
MODES = ("single", "multi")
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Classifier:
    """Labels with their descriptions and examples, the kind of text, how an answer is chosen, and what was learned.

    Build it with `Classifier.of`, which checks what it is given and puts labels and examples into one order: two
    classifiers that mean the same are equal, and give the same answers to the last bit.
    """

    labels: tuple[str, ...]
    descriptions: tuple[tuple[str, str], ...] = ()
    examples: tuple[tuple[str, tuple[str, ...]], ...] = ()
    text_type: str | None = None
    mode: str = "single"
    threshold: float = DEFAULT_THRESHOLD
    learned: Learned | None = None
    saved_as: str | None = field(default=None, compare=False)  # name@vN

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
    ) -> Classifier:
        """Checked fields in, classifier out.

        Raises:
            RecordError: a field breaks a rule of the request (`field` says which), or `learned`, as `to_mapping` gives
                it, is damaged or of other labels.
        Source: the request's contract: 1-200 unique labels of 1-100 characters, keys of
            `descriptions` and `examples` are labels, threshold 0-1.
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
        )

    def to_mapping(self) -> dict[str, Any]:
        """The fields that are set, as `of` takes them: what is saved, and what the digest is made of."""
        fields = {
            "labels": list(self.labels),
            "descriptions": dict(self.descriptions),
            "examples": {label: list(texts) for label, texts in self.examples},
            "text_type": self.text_type,
            "mode": self.mode,
            "threshold": self.threshold,
            "learned": self.learned.to_mapping() if self.learned is not None else None,
        }
        return {name: value for name, value in fields.items() if value not in (None, {})}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that this classifier says, in hex. The name that it is saved under is no part of it."""
        canonical = json.dumps(self.to_mapping(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def name(self) -> str:
        """`name@vN` of a saved classifier, else `inline:<digest>`."""
        return self.saved_as or f"inline:{self.digest[:12]}"


def is_clean(text: str) -> bool:
    """Whether a string has neither NUL nor lone surrogates, which no sink can hold."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any, limit: int = 80) -> str:
    """A value as it appears in a message: short, and safe to print."""
    text = ascii(value) if isinstance(value, str) and not is_clean(value) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _labels(labels: Any) -> tuple[str, ...]:
    def wrong(message: str) -> RecordError:
        return RecordError(FailureCode.LABELS_INVALID, message, "labels")

    if labels is None:
        raise wrong("labels are missing: give 1-200 of them in the record or in the job")
    if isinstance(labels, str | bytes | Mapping) or not isinstance(labels, Sequence):
        raise wrong(f"labels must be a list of strings, got {shown(labels)}")
    if not 1 <= len(labels) <= MAX_LABELS:
        raise wrong(f"labels must be 1-{MAX_LABELS}, got {len(labels)}")
    seen = set()
    for label in labels:
        if not isinstance(label, str) or not label.strip() or not is_clean(label):
            raise wrong(f"a label must be a non-empty string, got {shown(label)}")
        if len(label) > MAX_LABEL_CHARS:
            raise wrong(f"a label has at most {MAX_LABEL_CHARS} characters, got {len(label)}: {shown(label)}")
        if label in seen:
            raise wrong(f"Labels must be unique: {shown(label)} is there twice")
        seen.add(label)
    return tuple(sorted(labels))


def _descriptions(value: Any, labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    code, field = FailureCode.DESCRIPTIONS_INVALID, "descriptions"
    if not value:
        return ()
    if not isinstance(value, Mapping):
        raise RecordError(code, f"descriptions map label to text, got {shown(value)}", field)
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
        raise RecordError(code, f"examples map label to a list of texts, got {shown(value)}", field)
    for label, texts in value.items():
        _check_key(code, field, label, labels)
        listed = isinstance(texts, Sequence) and not isinstance(texts, str | bytes)
        if not listed or not all(isinstance(text, str) and text.strip() and is_clean(text) for text in texts):
            raise RecordError(code, f"examples of {shown(label)} must be non-empty strings, got {shown(texts)}", field)
    return tuple(sorted((label, tuple(sorted(texts))) for label, texts in value.items() if texts))


def _check_key(code: FailureCode, field: str, label: Any, labels: tuple[str, ...]) -> None:
    if label not in labels:
        raise RecordError(code, f"{field} name {shown(label)}, which is not one of the labels", field)


def _text_type(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_LABEL_CHARS or not is_clean(value):
        message = f"text_type is a string of at most {MAX_LABEL_CHARS} characters, got {shown(value)}"
        raise RecordError(FailureCode.TEXT_TYPE_INVALID, message, "text_type")
    return value.strip() or None


def _mode(value: Any) -> str:
    if value is None:
        return "single"
    if value not in MODES:
        raise RecordError(FailureCode.MODE_INVALID, f"mode is single or multi, got {shown(value)}", "mode")
    return str(value)


def _threshold(value: Any) -> float:
    if value is None:
        return DEFAULT_THRESHOLD
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        message = f"threshold is a number from 0 to 1, got {shown(value)}"
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
        message = f"what was learned is for one of the labels {shown(list(learned.labels))}: tune the classifier again"
        raise RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
    return learned
