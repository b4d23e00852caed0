"""Find the kind of a bare ID from the model's own configuration."""

from __future__ import annotations

from classer_core.models.hub import ModelFiles

PICTURES_AND_TEXTS = {"clip", "siglip", "siglip2", "chinese_clip", "altclip", "align"}


def kind_for(source: str, files: ModelFiles) -> tuple[str, str]:
    """Return the kind of model that these files are, and the reason in words.

    Args:
        source: the model's id. Causal rerankers have the configuration of a language model; only their name tells.
        files: what is known of the model.

    >>> config = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "neutral", "1": "entailment"}}
    >>> kind_for("acme/nli", ModelFiles(config, False, None, None))
    ('entailment', "one of its labels is 'entailment'")
    """
    if files.has_modules:
        return "embedding", "it has a modules.json"
    if str(files.config.get("model_type")) in PICTURES_AND_TEXTS:
        return "image-text", f"its model_type is {files.config['model_type']}"
    if files.architecture.endswith("ForSequenceClassification"):
        names = files.label_names
        if len(names) == 1:
            return "reranker", "it is a sequence classifier with one output"
        if (column := entailment_column(names)) is not None:
            return "entailment", f"one of its labels is {names[column]!r}"
        return "finetuned", f"it is a sequence classifier with {len(names)} labels"
    if files.architecture.endswith("ForCausalLM") and "rerank" in source.lower():
        return "reranker", "it is a causal language model with 'rerank' in its name"
    if files.architecture.endswith("ForCausalLM"):
        return "generate", "it is a causal language model"
    return "embedding", f"its architecture is {files.architecture}"


def entailment_column(label_names: list[str]) -> int | None:
    """Return the position of the output for entailment; None if there is none.

    >>> entailment_column(["not_entailment", "ENTAILMENT"]), entailment_column(["positive", "negative"])
    (1, None)
    """
    matches = [position for position, name in enumerate(label_names) if name.casefold().startswith("entail")]
    return matches[0] if len(matches) == 1 else None
