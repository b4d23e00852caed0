"""The JSON of the API: bodies of requests in, records out; outcomes in, bodies of responses out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

import orjson

from classer_core.classifiers import shown
from classer_core.errors import RecordError
from classer_core.records import PRIORITIES, Failure, Outcome, Record, Result
from classer_core.requests import RequestParser
from classer_core.saved import Reference, SavedClassifiers
from runners.serve.errors import ApiError, classifier_not_found, invalid, invalid_json, of_record

Mode = Literal["single", "multi"]
MAX_TEXTS = 1_000
MAX_DEPTH = 100
# Fields of a request that its record takes as they are. The path decides the mode, and only tag has a threshold.
_COMMON = ("labels", "classifier", "descriptions", "examples", "text_type", "image", "file", "cache")


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    Raises:
        ApiError: 400; it is not JSON (NaN and Infinity are not), not UTF-8, not an object, or nested too deep.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _parse_leniently(body, str(error))
    if not isinstance(document, dict):
        raise invalid_json(f"The body is not a JSON object but {_json_type(document)}")
    if _is_deeper(document, MAX_DEPTH):
        raise invalid_json(f"The body is JSON nested deeper than {MAX_DEPTH} levels")
    return document


def _parse_leniently(body: bytes, reason: str) -> Any:
    """Parse what orjson refuses and JSON allows: lone surrogates, which the check of their field names later."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(body.decode("utf-8"), parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise invalid_json(f"The body is not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError):
        raise invalid_json(f"The body is not JSON: {reason}") from None


class RequestReader:
    """Turns documents of requests into records.

    Args:
        saved: what names of saved classifiers mean.
    """

    def __init__(self, saved: SavedClassifiers) -> None:
        self._saved = saved
        self._parser = RequestParser({}, saved=saved)

    def record(self, document: Mapping[str, Any], mode: Mode) -> Record:
        """Return the record of a classify or tag request; attachments are not fetched.

        Raises:
            ApiError: 404 or 422; a field breaks a rule, or there is no such classifier.
        """
        fields = self._fields(document, mode) | {"text": document.get("text"), "priority": _priority(document)}
        [parsed] = self._parser.parse({name: [value] for name, value in fields.items()}, ["0"])
        if isinstance(parsed, RecordError):
            raise of_record(parsed)
        return parsed

    def records(self, document: Mapping[str, Any], mode: Mode) -> list[Record | RecordError]:
        """Return one record per text of a batch request; a text that breaks a rule is an error in its place.

        Raises:
            ApiError: 404 or 422; another field breaks a rule, or there is no such classifier.
        """
        texts = document.get("texts")
        if not isinstance(texts, list):
            raise invalid(f"texts must be a list of strings, got {shown(texts)}", "texts")
        if not 1 <= len(texts) <= MAX_TEXTS:
            raise invalid(f"texts must be 1-{MAX_TEXTS:,}, got {len(texts):,}", "texts")
        columns = {name: [value] * len(texts) for name, value in self._fields(document, mode).items()}
        parsed = self._parser.parse({**columns, "text": texts}, [str(position) for position in range(len(texts))])
        for item in parsed:
            if isinstance(item, RecordError) and item.field != "text":
                raise of_record(item)
        return parsed

    def saved_mode(self, document: Mapping[str, Any]) -> Mode:
        """Return the mode of the saved classifier that a document names; `single` if it names none that there is."""
        try:
            return "multi" if self._saved.load(document["classifier"]).mode == "multi" else "single"
        except (KeyError, RecordError):
            return "single"

    def _fields(self, document: Mapping[str, Any], mode: Mode) -> dict[str, Any]:
        fields = {name: document[name] for name in _COMMON if document.get(name) is not None}
        if "text_type" not in fields and document.get("source_type") is not None:
            fields["text_type"] = document["source_type"]
        fields["mode"] = mode
        if mode == "multi" and document.get("threshold") is not None:
            fields["threshold"] = document["threshold"]
        if not fields.get("classifier", True):
            del fields["classifier"]
        if "classifier" in fields:
            if fields.get("labels") == []:  # what the SDK sends beside a classifier
                del fields["labels"]
            if "labels" not in fields:
                return self._of_saved(fields, mode)
        return fields

    def _of_saved(self, fields: dict[str, Any], mode: Mode) -> dict[str, Any]:
        try:
            reference = Reference.parse(fields["classifier"])
        except RecordError as error:
            raise of_record(error) from error
        versions = self._saved.versions.get(reference.name, ())
        if not versions or (reference.version is not None and reference.version not in versions):
            raise classifier_not_found(str(reference))
        try:
            saved = self._saved.load(str(reference))
        except RecordError as error:
            raise ApiError(500, "INTERNAL_ERROR", f"The saved classifier {reference} can't be read") from error
        if saved.as_written() == saved or mode == "single":
            return fields
        # What was learned chooses one label; tag uses the labels and their descriptions without it.
        del fields["classifier"]
        return saved.as_written().to_mapping() | fields


def _priority(document: Mapping[str, Any]) -> Any:
    if document.get("priority") is not None:
        return document["priority"]
    return document["speed"] if document.get("speed") in PRIORITIES else None


def single_body(result: Result, latency_ms: float) -> dict[str, Any]:
    """Return the body of a classify or tag response."""
    body: dict[str, Any] = {}
    if result.labels is not None:
        body["labels"] = [{"label": item.label, "confidence": item.confidence} for item in result.labels]
    else:
        body |= {"label": result.label, "confidence": result.confidence}
    body["tokens"] = result.tokens
    if result.visual_tokens is not None:
        body["visual_tokens"] = result.visual_tokens
    if result.evidence is not None:
        body["evidence"] = result.evidence
    return body | {"latency_ms": round(latency_ms, 3), "cached": result.cached}


def batch_body(outcomes: Sequence[Outcome | RecordError], mode: Mode, latency_ms: float) -> dict[str, Any]:
    """Return the body of a batch response, items in the order of the texts."""
    return {
        "results": [_item(outcome, mode) for outcome in outcomes],
        "total_tokens": tokens_read(outcomes),
        "latency_ms": round(latency_ms, 3),
    }


def tokens_read(outcomes: Sequence[Outcome | RecordError]) -> int:
    """Return the tokens that were read for these outcomes; cached ones count 0."""
    return sum(item.tokens for item in outcomes if isinstance(item, Result) and not item.cached)


def _item(outcome: Outcome | RecordError, mode: Mode) -> dict[str, Any]:
    if isinstance(outcome, RecordError | Failure):
        nothing: dict[str, Any] = {"label": None, "confidence": None} if mode == "single" else {"labels": None}
        return nothing | {"tokens": 0, "error": outcome.message, "cached": False, "cache": {"hit": False}}
    body = single_body(outcome, 0)
    del body["latency_ms"]
    # The SDKs read `cache.hit`; their types say `cached`.
    return body | {"error": None, "cache": {"hit": outcome.cached}}


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    return any(_is_deeper(item, levels - 1) for item in (value.values() if isinstance(value, dict) else value))


def _json_type(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
