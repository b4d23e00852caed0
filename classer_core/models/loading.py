"""Load the models that a job names with `model` and `visual_model`."""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from classer_core.errors import ModelLoadError, without_users
from classer_core.extras import require_for_model
from classer_core.models import EMBEDDED, Model
from classer_core.models.choosing import kind_for
from classer_core.models.document_kinds import DocumentKinds
from classer_core.models.hub import failed, look_at
from classer_core.models.registry import KINDS
from classer_core.models.spec import AnyModelSpec, ModelSpec, spec_of
from classer_core.models.visual import NONE, VisualModel

log = logging.getLogger(__name__)


def load_model(model: str | AnyModelSpec, threads: int | None = None) -> Model:
    """Return the text model of this name, one copy per process.

    Args:
        model: the job's `model`: `embedded`, `KIND:ID`, a bare ID, or all of its settings, or a cascade of two.
        threads: CPU threads it may use (default: all cores).

    Raises:
        ModelLoadError: there is no such model, it is of another kind, its weights are damaged, or memory is too small.
    """
    spec = _spec(model)
    if isinstance(spec, ModelSpec):
        return _load_model(spec, threads)
    from classer_core.models.cascade import Cascade

    return Cascade(_load_model(spec.first, threads), _load_model(spec.then, threads), spec.below)


@lru_cache(maxsize=2)
def _load_model(spec: ModelSpec, threads: int | None) -> Model:
    kind = resolve(spec)
    if KINDS[kind].reads != "text":
        remedy = f"Set visual_model: {kind}:{spec.source}, and model: embedded or a kind that reads texts"
        raise failed(spec, "it matches pictures with texts, and model is what reads texts", remedy)
    model: Model = _load(kind, spec, threads)
    return model


def load_visual_model(model: str | ModelSpec, text_model: Model, threads: int | None = None) -> VisualModel | None:
    """Return the visual model of this name; None for `none`.

    Args:
        model: the job's `visual_model`: `embedded`, `none`, `image-text:ID`, or a bare ID.
        text_model: embeds labels and class names for `embedded`.
        threads: CPU threads it may use (default: all cores).

    Raises:
        ModelLoadError: there is no such model, or it does not match pictures with texts.
    """
    spec = ModelSpec.of(model)
    if spec.id == NONE:
        return None
    if spec.id != EMBEDDED:
        kind = spec.kind or "image-text"
        if KINDS[kind].reads != "pictures":
            remedy = f"Set model: {spec.id}, and visual_model: embedded, none or image-text:ID"
            raise failed(spec, f"models of the kind {kind} read texts", remedy)
        visual: VisualModel = _load(kind, spec, threads)
        return visual
    from classer_core.models.embedded_visual import EmbeddedVisualModel
    from classer_core.models.sentence_embedding import EmbeddingModel

    # Labels are compared with the names of photographed things, whatever kind of model reads the texts.
    first = getattr(text_model, "first", text_model)  # of a cascade
    embedder = first if isinstance(first, EmbeddingModel) else EmbeddingModel.load(EMBEDDED, threads)
    return EmbeddedVisualModel(embedder, threads)


def load_document_kinds(text_model: Model) -> DocumentKinds | None:
    """Return what tells kinds of documents, whose weights belong to the embedded model; None beside any other model."""
    from classer_core.models.sentence_embedding import EmbeddingModel

    if isinstance(text_model, EmbeddingModel) and text_model.weights_id.partition("@")[0] == EMBEDDED:
        return DocumentKinds(text_model)
    return None


def resolve(spec: ModelSpec) -> str:
    """Return the kind of a model; that of a bare ID is found from the model's configuration, and logged.

    Raises:
        ModelLoadError: there is no such model.
    """
    if spec.kind is not None:
        return spec.kind
    require_for_model("model", spec.id, "models")
    kind, reason = kind_for(spec.source, look_at(spec))
    log.warning("model %s is taken as %s:%s, as %s", spec.source, kind, spec.source, reason)
    return kind


def _load(kind: str, spec: ModelSpec, threads: int | None) -> Any:
    if spec.id != EMBEDDED and (extra := KINDS[kind].extra):
        require_for_model("model" if KINDS[kind].reads == "text" else "visual_model", spec.id, extra)
    return import_module(KINDS[kind].module).load(spec, threads)


def _spec(model: str | AnyModelSpec) -> AnyModelSpec:
    try:
        return spec_of(model)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ModelLoadError(f"model {without_users(str(model))!r}: {reason}") from None
