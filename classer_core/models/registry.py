"""The kinds of models: one file and one line of `KINDS` each. docs/models.md shows how to add one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_SERVER = re.compile(r"(.+?)@(https?://[^\s@?#]+)")
_PREFIX = re.compile(r"[a-z][a-z0-9-]*(?=:)")


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        module: has a function `load(spec: ModelSpec, threads: int | None)`; imported when such a model is loaded.
        reads: `text` if `load` returns a `Model`, `pictures` if it returns a `VisualModel`.
        architectures: endings of the class names in the `architectures` of a model's config.json, for bare IDs and for
            checking; empty for kinds that have no such file or take any architecture.
        settings: fields of `ModelSpec` that only some kinds understand, and this one does.
        extra: the extra of pyproject.toml with the libraries that it needs.
    """

    module: str
    reads: Literal["text", "pictures"] = "text"
    architectures: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    extra: str | None = None


KINDS = {
    "embedding": Kind("classer_core.models.sentence_embedding"),
    "finetuned": Kind("classer_core.models.finetuned", architectures=("ForSequenceClassification",), extra="models"),
    "entailment": Kind(
        "classer_core.models.entailment",
        architectures=("ForSequenceClassification",),
        settings=("hypothesis", "shortlist"),
        extra="models",
    ),
    "reranker": Kind(
        "classer_core.models.reranker",
        architectures=("ForSequenceClassification", "ForCausalLM"),
        settings=("shortlist",),
        extra="models",
    ),
    "generate": Kind(
        "classer_core.models.generate",
        architectures=("ForCausalLM",),
        settings=("prompt", "shortlist"),
        extra="models",
    ),
    "openai": Kind("classer_core.models.openai_server", settings=("api_key", "concurrency", "shortlist")),
    "image-text": Kind("classer_core.models.image_text", reads="pictures", extra="models"),
}


def server_of(source: str) -> tuple[str, str]:
    """Return the name of the model and the URL of `MODEL@URL`.

    Raises:
        ValueError: it is not of this form; user and password don't belong into the URL.

    >>> server_of("meta/llama@http://localhost:8000/v1")
    ('meta/llama', 'http://localhost:8000/v1')
    """
    found = _SERVER.fullmatch(source)
    if found is None:
        raise ValueError(
            "must be openai:MODEL@URL, as in openai:llama@http://localhost:8000/v1, without user or password"
        )
    return found[1], found[2]


def named_kind(id: str) -> str | None:
    """Return the kind at the start of `KIND:ID`; None if there is none.

    Raises:
        ValueError: it begins like one, and is not a kind.

    >>> named_kind("reranker:acme/ranker"), named_kind("acme/ranker"), named_kind("/a:b")
    ('reranker', None, None)
    """
    prefix = _PREFIX.match(id)
    if prefix is None:
        return None
    if prefix[0] not in KINDS:
        raise ValueError(f"{prefix[0]!r} is not a kind of model. Kinds: {', '.join(KINDS)}")
    return prefix[0]
