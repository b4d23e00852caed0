"""Turn rows of a source into checked records; an invalid row becomes a RecordError in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson

from classer_core.classifiers import MAX_LABELS, Classifier, is_clean, shown
from classer_core.contents import MAX_IMAGES, Attachment
from classer_core.errors import FailureCode, RecordError
from classer_core.nesting import is_too_deep
from classer_core.records import PRIORITIES, Record
from classer_core.saved import SavedClassifiers

CLASSIFIER_FIELDS = ("classifier", "labels", "descriptions", "examples", "text_type", "mode", "threshold")
ALL_SCORES = "all"
JSON_FIELDS = ("labels", "descriptions", "examples")
DISTINCT_CLASSIFIERS_CACHED = 4_096


class RequestParser:
    """Turns the request fields of rows into records.

    Args:
        defaults: request field -> the job's value, for rows without this field.
        textual: whether all values are strings, as in CSV, so that numbers, booleans and JSON are parsed.
        saved: the saved classifiers that records may name.

    Raises:
        RecordError: a default is invalid.
    """

    def __init__(
        self, defaults: Mapping[str, Any], textual: bool = False, saved: SavedClassifiers | None = None
    ) -> None:
        self._defaults = {name: value for name, value in defaults.items() if value is not None}
        self._textual = textual
        self._saved = saved
        # One Classifier object per distinct set of fields: label vectors are computed once for each.
        self._cached_classifier = lru_cache(maxsize=DISTINCT_CLASSIFIERS_CACHED)(
            lambda fields: self._build_classifier(orjson.loads(fields))
        )
        self._priority = checked_priority(defaults.get("priority") or "standard")
        self._cache = _cache(defaults.get("cache", True))
        self.scores = scores_of(defaults.get("scores"))
        self._classifier: Classifier | RecordError
        try:
            self._classifier = self._build_classifier({})
        except RecordError as error:
            if self._defaults.keys() & {"labels", "classifier"}:
                raise
            self._classifier = error  # the error of every record that has no labels or classifier

    @property
    def classifier(self) -> Classifier | None:
        """Return the job's classifier; None if the job has none, so that every record needs one."""
        return self._classifier if isinstance(self._classifier, Classifier) else None

    def parse(self, fields: Mapping[str, Sequence[Any]], positions: Sequence[str]) -> list[Record | RecordError]:
        """Return one record or error per row.

        Args:
            fields: request field -> its values, one per row; None where a row does not have the field.
            positions: position of each row in the source, used as id of rows without one.
        """
        absent: Sequence[Any] = [None] * len(positions)
        ids, texts = fields.get("id", absent), fields.get("text", absent)
        other_names = [name for name in fields if name not in ("id", "text")]
        parsed: list[Record | RecordError] = []
        for row, position in enumerate(positions):
            try:
                record_id = position if ids[row] is None else _id(ids[row])
                values = {name: value for name in other_names if (value := fields[name][row]) is not None}
                parsed.append(self._record(record_id, texts[row], values))
            except RecordError as error:
                parsed.append(error)
        return parsed

    def _record(self, record_id: str, text: Any, fields: dict[str, Any]) -> Record:
        if self._textual:
            fields = {name: from_text(name, value) for name, value in fields.items() if value != ""}
        classifier_fields = {name: fields[name] for name in CLASSIFIER_FIELDS if name in fields}
        classifier = self._classifier_with(classifier_fields) if classifier_fields else self._classifier
        if isinstance(classifier, RecordError):
            raise classifier
        attachments = attachments_of(fields.get("image"), fields.get("file")) if fields else ()
        return Record(
            id=record_id,
            text="" if attachments and _is_blank(text) else checked_text(text),
            classifier=classifier,
            priority=checked_priority(fields["priority"]) if "priority" in fields else self._priority,
            cache=_cache(fields["cache"]) if "cache" in fields else self._cache,
            attachments=attachments,
            scores=self.scores,
        )

    def _classifier_with(self, record_fields: dict[str, Any]) -> Classifier:
        record_fields = {
            name: _as_mapping(value) if name in JSON_FIELDS else value for name, value in record_fields.items()
        }
        if record_fields.get("threshold") != record_fields.get("threshold"):  # NaN, which JSON writes as null
            return self._build_classifier(record_fields)
        try:
            key = orjson.dumps(record_fields, option=orjson.OPT_SORT_KEYS)
        except (TypeError, ValueError):  # a value that is not JSON: the check of its field raises
            return self._build_classifier(record_fields)
        return self._cached_classifier(key)

    def _build_classifier(self, record_fields: Mapping[str, Any]) -> Classifier:
        """Return the classifier of a record with these fields.

        A record's fields override the job's. The job's fields override those of the saved classifier that it names,
        and do not apply to a saved classifier that the record names.
        """
        fields = {name: self._defaults[name] for name in CLASSIFIER_FIELDS if name in self._defaults}
        for names in (record_fields, fields):
            if "labels" in names and "classifier" in names:
                message = f"labels and classifier {shown(names['classifier'])} are both given: give one of them"
                raise RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
        if "classifier" in record_fields:
            fields = {}
        elif "labels" in record_fields:
            fields.pop("classifier", None)
        reference = record_fields.get("classifier", fields.get("classifier"))
        saved = self._saved_classifier(reference) if reference is not None else None
        fields = {**(saved.to_mapping() if saved is not None else {}), **fields}
        if isinstance(record_fields.get("labels"), list):
            # The job's descriptions and examples of labels that the record does not have do not apply.
            for name in ("descriptions", "examples"):
                of_label = fields.get(name) or {}
                fields[name] = {label: value for label, value in of_label.items() if label in record_fields["labels"]}
        merged = {"labels": None, **fields, **record_fields}
        merged.pop("classifier", None)
        classifier = Classifier.of(**merged)
        if saved is not None and replace(classifier, threshold=saved.threshold) != saved:
            classifier = classifier.as_written()  # it was tuned and certified for the saved fields
        return saved if saved == classifier and saved is not None else classifier

    def _saved_classifier(self, reference: Any) -> Classifier:
        if self._saved is None:
            message = f"saved classifiers are not available here, got {shown(reference)}: give labels instead"
            raise RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
        return self._saved.load(reference)


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RecordError(FailureCode.ID_INVALID, f"id must be a string or a number, got {shown(value)}", "id")
    text = str(value)
    if not text or not is_clean(text):
        raise RecordError(FailureCode.ID_INVALID, f"id is empty or not valid text, got {shown(value)}", "id")
    return text


def checked_text(value: Any) -> str:
    """Return the value if it is a text that can be classified.

    Raises:
        RecordError: it is missing, not a string, blank, or contains NUL or lone surrogates.
    """
    if value is None:
        raise RecordError(FailureCode.TEXT_MISSING, "the record has no text: give text, image or file", "text")
    if not isinstance(value, str):
        raise RecordError(FailureCode.TEXT_INVALID, f"text must be a string, got {shown(value)}", "text")
    if not value or value.isspace():
        raise RecordError(FailureCode.TEXT_EMPTY, f"text is empty or only white space, got {shown(value)}", "text")
    if not is_clean(value):
        message = f"text contains NUL or a lone surrogate, got {shown(value)}"
        raise RecordError(FailureCode.TEXT_INVALID, message, "text")
    return value


def attachments_of(image: Any = None, file: Any = None) -> tuple[Attachment, ...]:
    """Return the attachments of a record.

    Args:
        image: the record's `image`: one source, a list of them, or None.
        file: the record's `file`: one source, or None.

    Raises:
        RecordError: a source is of another type, or there are more than `MAX_IMAGES` images.

    >>> [attachment.place for attachment in attachments_of(["a.png", "b.png"], "c.pdf")]
    ['image 1', 'image 2', 'file']
    """
    images = image if isinstance(image, list | tuple) else [] if image is None else [image]
    if len(images) > MAX_IMAGES:
        message = f"a record must have at most {MAX_IMAGES} images, got {len(images)}"
        raise RecordError(FailureCode.TOO_MANY_IMAGES, message, "image")
    attachments = [Attachment("image", number, _source(value, "image")) for number, value in enumerate(images, start=1)]
    if file is not None:
        attachments.append(Attachment("file", 1, _source(file, "file")))
    return tuple(attachments)


def _is_blank(text: Any) -> bool:
    return text is None or (isinstance(text, str) and not text.strip())


def _source(value: Any, field: str) -> str | bytes:
    if isinstance(value, Mapping):  # pictures of Hugging Face datasets in Parquet
        value = value.get("bytes") or value.get("path")
    if not isinstance(value, str | bytes) or not value or (isinstance(value, str) and not is_clean(value)):
        code = FailureCode.IMAGE_INVALID if field == "image" else FailureCode.FILE_INVALID
        raise RecordError(code, f"{field} must be a URL, base64, a path or bytes, got {shown(value)}", field)
    return value


def checked_priority(value: Any) -> str:
    """Return the value if it is a priority.

    Raises:
        RecordError: it is another value.
    """
    if value not in PRIORITIES:
        message = f"priority must be {' or '.join(PRIORITIES)}, got {shown(value)}"
        raise RecordError(FailureCode.PRIORITY_INVALID, message, "priority")
    return str(value)


def _cache(value: Any) -> bool:
    if not isinstance(value, bool):
        raise RecordError(FailureCode.CACHE_INVALID, f"cache must be true or false, got {shown(value)}", "cache")
    return value


def scores_of(value: Any) -> int:
    """Return how many labels an answer lists with their confidences, of a job's or a call's `scores`.

    Raises:
        RecordError: it is neither a number of labels nor `all`.

    >>> scores_of(None), scores_of(3), scores_of("all")
    (0, 3, 200)
    """
    if value is None:
        return 0
    if value == ALL_SCORES:
        return MAX_LABELS
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LABELS:
        message = f"scores must be a number from 1 to {MAX_LABELS}, or {ALL_SCORES}, got {shown(value)}"
        raise RecordError(FailureCode.SCORES_INVALID, message, "scores")
    return value


def _as_mapping(value: Any) -> Any:
    """Return a mapping read from Arrow without its None values; other values are returned as they are.

    Arrow returns maps as lists of pairs, and structs with None for every absent key.
    """
    if isinstance(value, list) and value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
        value = dict(value)
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    return value


def from_text(name: str, value: Any) -> Any:
    """Return a CSV cell or a message attribute as a value of its request field.

    A value that can't be parsed is returned as it is: the check of its field raises.

    >>> from_text("labels", '["a", "b"]'), from_text("threshold", "0.5"), from_text("cache", "False")
    (['a', 'b'], 0.5, False)
    """
    try:
        if name in JSON_FIELDS or (name == "image" and value.startswith("[")):
            parsed = json.loads(value)
            return value if is_too_deep(parsed) else parsed
        if name == "threshold":
            return float(value)
    except (ValueError, RecursionError):
        return value
    if name == "cache":
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    return value
