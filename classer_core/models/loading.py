"""Load the models that a job names with `model` and `visual_model`."""

from __future__ import annotations

from functools import lru_cache

from classer_core.errors import ModelLoadError
from classer_core.models import EMBEDDED, Model
from classer_core.models.visual import NONE, VisualModel


@lru_cache(maxsize=2)
def load_model(name: str, threads: int | None = None) -> Model:
    """Return the text model of this name, one copy per process.

    Args:
        name: the job's `model`: `embedded`, a Hugging Face id, or a local folder.
        threads: CPU threads it may use (default: all cores).

    Raises:
        ModelLoadError: there is no such model, its weights are damaged, or it is not a sentence-embedding model.
    """
    from classer_core.models.sentence_embedding import EmbeddingModel

    return EmbeddingModel.load(name, threads)


def load_visual_model(name: str, text_model: Model, threads: int | None = None) -> VisualModel | None:
    """Return the visual model of this name; None for `none`.

    Args:
        name: the job's `visual_model`: `embedded`, `none`, a Hugging Face id, or a local folder.
        text_model: embeds labels and class names for `embedded`.
        threads: CPU threads it may use (default: all cores).

    Raises:
        ModelLoadError: there is no such model, or it does not match pictures with texts.
    """
    if name == NONE:
        return None
    if name != EMBEDDED:
        from classer_core.models.image_text import ImageTextModel

        return ImageTextModel.load(name)
    from classer_core.models.embedded_visual import EmbeddedVisualModel
    from classer_core.models.sentence_embedding import EmbeddingModel

    if not isinstance(text_model, EmbeddingModel):
        message = f"visual_model 'embedded' needs a sentence-embedding model as model, got {text_model.id!r}"
        raise ModelLoadError(message)
    return EmbeddedVisualModel(text_model, threads)
