"""ModelSpec: what a job says about its model, before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from classer_core.environment import FROM_ENVIRONMENT, is_reference
from classer_core.models import EMBEDDED
from classer_core.models.registry import KINDS, named_kind, server_of

_PLACES = re.compile(r"\{[^{}]*\}")
HYPOTHESIS_PLACES = {"{label}", "{text_type}"}
# Settings that only some kinds understand; `Kind.settings` says which.
KIND_SETTINGS = ("hypothesis", "prompt", "shortlist", "api_key", "concurrency")


class ModelSpec(BaseModel):
    """A model as a job names it: `KIND:ID`, or a mapping with `id` and the other fields.

    Attributes:
        id: `embedded`, `KIND:ID`, or a bare ID, whose kind is found from the model's configuration.
        revision: branch, tag or commit of the model on the Hugging Face hub.
        trust_remote_code: whether code that comes with the model may run.
        hypothesis: the sentence that an `entailment:` model compares with a text; contains {label}, maybe {text_type}.
        prompt: the words that a `generate:` model reads between a text and a label; may contain {text_type}.
        shortlist: how many labels the embedded model preselects, for kinds that read a text once per label.
        api_key: `env:NAME`, the variable that holds the key of an `openai:` server, where the job runs.
        concurrency: most requests to an `openai:` server at once, of each process.

    >>> ModelSpec.of("entailment:acme/nli").kind, ModelSpec.of("acme/some-model").kind
    ('entailment', None)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[str, Field(min_length=1)] = EMBEDDED
    revision: Annotated[str, Field(min_length=1)] | None = None
    trust_remote_code: bool = False
    hypothesis: str | None = None
    prompt: Annotated[str, Field(min_length=1)] | None = None
    shortlist: Annotated[int, Field(ge=2)] | None = None
    api_key: str | None = None
    concurrency: Annotated[int, Field(ge=1, le=256)] | None = None

    @classmethod
    def of(cls, value: str | ModelSpec) -> ModelSpec:
        """Return the model of this id.

        Raises:
            pydantic.ValidationError: it begins like `KIND:` with a kind that does not exist.
        """
        return value if isinstance(value, ModelSpec) else cls.model_validate(value)

    @property
    def kind(self) -> str | None:
        """Return the kind that the id names; None for a bare id."""
        return "embedding" if self.id == EMBEDDED else named_kind(self.id)

    @property
    def source(self) -> str:
        """Return the id without its kind: a Hugging Face id, a folder, or whatever else the kind takes.

        >>> ModelSpec(id="reranker:acme/ranker").source
        'acme/ranker'
        """
        return self.id if self.kind is None or self.id == EMBEDDED else self.id.partition(":")[2]

    def to_document(self) -> str | dict[str, Any]:
        """Return the plain value that a job file would hold: the id alone if nothing else is set."""
        document = self.model_dump(exclude_defaults=True) | {"id": self.id}
        return self.id if len(document) == 1 else document

    @model_validator(mode="before")
    @classmethod
    def _id_alone(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value

    @field_validator("id")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        kind = named_kind(value)
        if kind is not None and not value.partition(":")[2].strip():
            raise ValueError(f"names no model: write {kind}:ID")
        if kind == "openai":
            server_of(value.partition(":")[2])
        return value

    @field_validator("hypothesis")
    @classmethod
    def _has_a_label(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "{label}" not in value:
            raise ValueError("must contain {label}")
        if wrong := sorted(set(_PLACES.findall(value)) - HYPOTHESIS_PLACES):
            raise ValueError(f"contains {wrong[0]}; it may contain {{label}} and {{text_type}}")
        return value

    @field_validator("api_key")
    @classmethod
    def _is_named(cls, value: str | None) -> str | None:
        if value is not None and (not is_reference(value) or value == FROM_ENVIRONMENT):
            raise ValueError(f"must be {FROM_ENVIRONMENT}NAME, the name of a variable: everybody sees what is in a job")
        return value

    @field_validator("prompt")
    @classmethod
    def _has_known_places(cls, value: str | None) -> str | None:
        if value is not None and (wrong := sorted(set(_PLACES.findall(value)) - {"{text_type}"})):
            raise ValueError(f"contains {wrong[0]}; it may contain {{text_type}}. The label follows it")
        return value

    @model_validator(mode="after")
    def _settings_of_its_kind(self) -> ModelSpec:
        if self.kind is not None:
            for name in KIND_SETTINGS:
                if getattr(self, name) is not None and name not in KINDS[self.kind].settings:
                    takers = ", ".join(kind for kind, entry in KINDS.items() if name in entry.settings)
                    raise ValueError(f"{name} is not a setting of {self.kind} models, but of: {takers}")
        return self


class GuaranteeSpec(BaseModel):
    """What is proven of the answers of a cascade's first model.

    Attributes:
        precision: share of right answers (0-1) among those that are trusted, at least.
        confidence: probability (0-1) that this holds, over the drawing of the rows that prove it.
        budget: rows whose right answer the second model is asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    precision: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    budget: Annotated[int, Field(ge=50, le=100_000)] = 400


class CascadeSpec(BaseModel):
    """Two models, the second of which is asked where the first is not sure.

    Attributes:
        first: reads every text.
        then: reads the texts about which the first is not sure.
        below: the confidence of the first (0-1) below which the second is asked.
        guarantee: instead of `below`: what is proven of the answers of the first before it is trusted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    first: ModelSpec = ModelSpec()
    then: ModelSpec
    below: Annotated[float, Field(gt=0, le=1, strict=False)] | None = None
    guarantee: GuaranteeSpec | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the plain value that a job file would hold."""
        models = {"first": self.first.to_document(), "then": self.then.to_document()}
        if self.guarantee is not None:
            return models | {"guarantee": self.guarantee.model_dump()}
        return models | {"below": self.below}

    @model_validator(mode="after")
    def _one_limit(self) -> CascadeSpec:
        if (self.below is None) == (self.guarantee is None):
            raise ValueError("needs either below or guarantee")
        return self


def _tag(value: Any) -> str:
    is_cascade = isinstance(value, CascadeSpec) or (isinstance(value, Mapping) and bool(value.keys() & CASCADE_KEYS))
    return "cascade" if is_cascade else "one"


CASCADE_KEYS = CascadeSpec.model_fields.keys()
AnyModelSpec = ModelSpec | CascadeSpec
# A job's `model`; the tags are in the places of pydantic's errors.
JobModel = Annotated[Annotated[ModelSpec, Tag("one")] | Annotated[CascadeSpec, Tag("cascade")], Discriminator(_tag)]


def spec_of(model: str | AnyModelSpec) -> AnyModelSpec:
    """Return what a job's `model` or an id means.

    Raises:
        pydantic.ValidationError: it is an id with a kind that does not exist.
    """
    return ModelSpec.of(model) if isinstance(model, str) else model
