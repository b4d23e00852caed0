"""Rows of a source in, checked records out; a row that breaks a rule becomes a RecordError in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson

from classer_core.classifiers import Classifier, is_clean, shown
from classer_core.contents import MAX_IMAGES, Attachment
from classer_core.errors import FailureCode, RecordError
from classer_core.records import PRIORITIES, Record
from classer_core.saved import SavedClassifiers

CLASSIFIER_FIELDS = ("classifier", "labels", "descriptions", "examples", "text_type", "mode", "threshold")
JSON_FIELDS = ("labels", "descriptions", "examples")
DISTINCT_CLASSIFIERS_CACHED = 4_096


class RequestParser:
    """Turns the request fields of rows into records.

    Args:
        defaults: request field -> the job's value, for rows that leave the field empty.
        textual: values come from CSV, where numbers, booleans and JSON are written as text.
        saved: what names of saved classifiers mean.
    """

    def __init__(
        self, defaults: Mapping[str, Any], textual: bool = False, saved: SavedClassifiers | None = None
    ) -> None:
        self._defaults = {name: value for name, value in defaults.items() if value is not None}
        self._textual = textual
        self._saved = saved
        # One Classifier object per distinct set of fields: label vectors are computed once for each.
        self._cached_classifier = lru_cache(maxsize=DISTINCT_CLASSIFIERS_CACHED)(
            lambda own: self._build_classifier(orjson.loads(own))
        )
        self._priority = _priority(defaults.get("priority") or "standard")
        self._cache = _cache(defaults.get("cache", True))
        self._classifier: Classifier | RecordError
        try:
            self._classifier = self._build_classifier({})
        except RecordError as error:
            if self._defaults.keys() & {"labels", "classifier"}:
                raise
            self._classifier = error  # every record must bring its own

    @property
    def classifier(self) -> Classifier | None:
        """The job's own; None if every record must bring one."""
        return self._classifier if isinstance(self._classifier, Classifier) else None

    def parse(self, fields: Mapping[str, Sequence[Any]], positions: Sequence[str]) -> list[Record | RecordError]:
        """Columns of request fields in, one record or error per row out.

        Args:
            fields: request field -> its values, one per row; None is "not given".
            positions: what stands for the id of a row that has none.
        """
        absent: Sequence[Any] = [None] * len(positions)
        ids, texts = fields.get("id", absent), fields.get("text", absent)
        extra = [name for name in fields if name not in ("id", "text")]
        parsed: list[Record | RecordError] = []
        for row, position in enumerate(positions):
            try:
                record_id = position if ids[row] is None else _id(ids[row])
                given = {name: value for name in extra if (value := fields[name][row]) is not None} if extra else {}
                parsed.append(self._record(record_id, texts[row], given))
            except RecordError as error:
                parsed.append(error)
        return parsed

    def _record(self, record_id: str, text: Any, given: dict[str, Any]) -> Record:
        if self._textual:
            given = {name: from_text(name, value) for name, value in given.items() if value != ""}
        own = {name: given[name] for name in CLASSIFIER_FIELDS if name in given}
        classifier = self._own_classifier(own) if own else self._classifier
        if isinstance(classifier, RecordError):
            raise classifier
        attachments = attachments_of(given.get("image"), given.get("file")) if given else ()
        return Record(
            id=record_id,
            text="" if attachments and _is_blank(text) else checked_text(text),
            classifier=classifier,
            priority=_priority(given["priority"]) if "priority" in given else self._priority,
            cache=_cache(given["cache"]) if "cache" in given else self._cache,
            attachments=attachments,
        )

    def _own_classifier(self, own: dict[str, Any]) -> Classifier:
        own = {name: _as_mapping(value) if name in JSON_FIELDS else value for name, value in own.items()}
        if own.get("threshold") != own.get("threshold"):  # not a number, which JSON would take for none
            return self._build_classifier(own)
        try:
            key = orjson.dumps(own, option=orjson.OPT_SORT_KEYS)
        except (TypeError, ValueError):  # a value that is no JSON: its check says what is wrong with it
            return self._build_classifier(own)
        return self._cached_classifier(key)

    def _build_classifier(self, own: Mapping[str, Any]) -> Classifier:
        """The record's own fields win over the job's, and what a saved classifier says over what the job says of it."""
        fields = {name: self._defaults[name] for name in CLASSIFIER_FIELDS if name in self._defaults}
        for given in (own, fields):
            if "labels" in given and "classifier" in given:
                message = f"labels and classifier {shown(given['classifier'])} are both given: give one of them"
                raise RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
        if "classifier" in own:
            fields = {}
        elif "labels" in own:
            fields.pop("classifier", None)
        named = own.get("classifier", fields.get("classifier"))
        saved = self._saved_classifier(named) if named is not None else None
        fields = {**(saved.to_mapping() if saved is not None else {}), **fields}
        if isinstance(own.get("labels"), list):
            # What the job says of labels that the record does not have is of no use to it.
            for name in ("descriptions", "examples"):
                known = fields.get(name) or {}
                fields[name] = {label: value for label, value in known.items() if label in own["labels"]}
        whole = {"labels": None, **fields, **own}
        whole.pop("classifier", None)
        classifier = Classifier.of(**whole)
        if saved is not None and replace(classifier, threshold=saved.threshold) != saved:
            classifier = replace(classifier, learned=None)  # it was learned from what the saved one says
        return saved if saved == classifier and saved is not None else classifier

    def _saved_classifier(self, reference: Any) -> Classifier:
        if self._saved is None:
            message = f"there are no saved classifiers here, got {shown(reference)}: give labels"
            raise RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
        return self._saved.load(reference)


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RecordError(FailureCode.ID_INVALID, f"id is a string or a number, got {shown(value)}", "id")
    text = str(value)
    if not text or not is_clean(text):
        raise RecordError(FailureCode.ID_INVALID, f"id is empty or not valid text, got {shown(value)}", "id")
    return text


def checked_text(value: Any) -> str:
    """A value in, the same value out if it is a text that can be classified; a RecordError otherwise."""
    if value is None:
        raise RecordError(FailureCode.TEXT_MISSING, "the record has no text", "text")
    if not isinstance(value, str):
        raise RecordError(FailureCode.TEXT_INVALID, f"text is a string, got {shown(value)}", "text")
    if not value or value.isspace():
        raise RecordError(FailureCode.TEXT_EMPTY, f"text is empty or only white space, got {shown(value)}", "text")
    if not is_clean(value):
        message = f"text has a NUL or a lone surrogate: {shown(value)}"
        raise RecordError(FailureCode.TEXT_INVALID, message, "text")
    return value


def attachments_of(image: Any = None, file: Any = None) -> tuple[Attachment, ...]:
    """A record's `image` (one or a list) and `file` in, its attachments out.

    Raises:
        RecordError: another type, or more than 20 images.
    """
    images = image if isinstance(image, list | tuple) else [] if image is None else [image]
    if len(images) > MAX_IMAGES:
        message = f"a record has at most {MAX_IMAGES} images, got {len(images)}"
        raise RecordError(FailureCode.TOO_MANY_IMAGES, message, "image")
    found = [Attachment("image", number, _source(value, "image")) for number, value in enumerate(images, start=1)]
    if file is not None:
        found.append(Attachment("file", 1, _source(file, "file")))
    return tuple(found)


def _is_blank(text: Any) -> bool:
    return text is None or (isinstance(text, str) and not text.strip())


def _source(value: Any, field: str) -> str | bytes:
    if isinstance(value, Mapping):  # how Hugging Face datasets keep pictures in Parquet
        value = value.get("bytes") or value.get("path")
    if not isinstance(value, str | bytes) or not value or (isinstance(value, str) and not is_clean(value)):
        code = FailureCode.IMAGE_INVALID if field == "image" else FailureCode.FILE_INVALID
        raise RecordError(code, f"{field} is a URL, base64, a path or bytes, got {shown(value)}", field)
    return value


def _priority(value: Any) -> str:
    if value not in PRIORITIES:
        message = f"priority is {' or '.join(PRIORITIES)}, got {shown(value)}"
        raise RecordError(FailureCode.PRIORITY_INVALID, message, "priority")
    return str(value)


def _cache(value: Any) -> bool:
    if not isinstance(value, bool):
        raise RecordError(FailureCode.CACHE_INVALID, f"cache is true or false, got {shown(value)}", "cache")
    return value


def _as_mapping(value: Any) -> Any:
    """Arrow gives maps as lists of pairs and structs with a None for every absent key."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
        value = dict(value)
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    return value


def from_text(name: str, value: Any) -> Any:
    """A CSV cell or an attribute as the value its field wants; as it is when it is none, for the check to name it."""
    try:
        if name in JSON_FIELDS or (name == "image" and value.startswith("[")):
            return json.loads(value)
        if name == "threshold":
            return float(value)
    except (ValueError, RecursionError):
        return value
    if name == "cache":
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    return value
