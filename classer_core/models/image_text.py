"""ImageTextModel: CLIP, SigLIP and similar models of transformers, which score a label by its cosine to the picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from classer_core import hardware
from classer_core.classifiers import Classifier
from classer_core.contents import PixelNeeds, Pixels
from classer_core.errors import ModelLoadError
from classer_core.heads import unit
from classer_core.models.visual import Values

if TYPE_CHECKING:
    from classer_core.models.spec import ModelSpec

BATCH = 32
# Describes every picture: a label is given in mode multi if its cosine is higher than that of this text.
NEUTRAL_TEXT = "a picture"
# A processor crops the centre of a picture. Long sides are up to this many times the model's input.
SIDE_FACTOR = 2


def load(spec: ModelSpec, threads: int | None = None) -> ImageTextModel:
    """Load a CLIP or SigLIP model; see `ImageTextModel.load`."""
    return ImageTextModel.load(spec.source, spec.revision, spec.trust_remote_code)


class ImageTextModel:
    """A model of transformers with `get_image_features` and `get_text_features`.

    Args:
        model: the loaded model.
        processor: prepares pictures and texts for it.
        name: the job's `visual_model`.
        digest: of the weights.
    """

    def __init__(self, model: Any, processor: Any, name: str, digest: str) -> None:
        self._model = model
        self._processor = processor
        self._device = next(model.parameters()).device
        self._dtype = next(model.parameters()).dtype
        vision = model.config.vision_config
        self._side_px = int(vision.image_size)
        self._tokens = (self._side_px // int(vision.patch_size)) ** 2 + 1
        self._text_vectors = lru_cache(maxsize=1_024)(self._embed_labels)
        self._scale = float(model.logit_scale.detach().exp())
        bias = getattr(model, "logit_bias", None)
        self._bias = None if bias is None else float(bias.detach())
        self.id = f"{name}@{digest[:12]}"

    @classmethod
    def load(cls, name: str, revision: str | None = None, trust_remote_code: bool = False) -> ImageTextModel:
        """Load a model on the best device of this machine.

        Args:
            name: a Hugging Face id, or a local folder.
            revision: branch, tag or commit on the hub.
            trust_remote_code: whether code that comes with the model may run.

        Raises:
            ModelLoadError: it can't be loaded, or does not match pictures with texts.
        """
        from transformers import AutoModel, AutoProcessor

        from classer_core.models.general import quiet_loading, weights_digest

        device = hardware.best_device()
        options: dict[str, Any] = {
            "local_files_only": Path(name).is_dir(),
            "revision": revision,
            "trust_remote_code": trust_remote_code,
        }
        with quiet_loading():
            try:
                model = AutoModel.from_pretrained(name, dtype=hardware.best_dtype(device), **options)
                processor: Any = AutoProcessor.from_pretrained(name, **options)  # type: ignore[no-untyped-call]
            except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError) as error:
                raise ModelLoadError(_load_message(name, " ".join(str(error).split())[:300])) from error
        if not hasattr(model, "get_image_features") or not hasattr(model, "logit_scale"):
            raise ModelLoadError(_load_message(name, "it does not match pictures with texts"))
        model.to(device).eval()
        return cls(model, processor, name, weights_digest(model))

    @property
    def pixel_needs(self) -> PixelNeeds:
        """Return that every page and picture is needed, about as large as the model's input."""
        return PixelNeeds("all", SIDE_FACTOR * self._side_px)

    @property
    def tokens_a_picture(self) -> int:
        """Return the number of patches plus one for the class token."""
        return self._tokens

    def read(self, pictures: Sequence[Pixels]) -> list[str]:
        """Return an empty text per picture: these models do not read."""
        return [""] * len(pictures)

    def share(self, text_chars: int) -> float:
        """Return 0.5, so that pictures and text count alike; 1 without text."""
        return 0.5 if text_chars else 1.0

    def score(self, pictures: Sequence[Pixels], classifiers: Sequence[Classifier]) -> list[Values]:
        """Return the model's own logits (n_labels,) of each picture for the classifier at the same position."""
        vectors = self._embed_pictures(pictures)
        scores = []
        for vector, classifier in zip(vectors, classifiers, strict=True):
            labels, neutral = self._text_vectors(classifier)
            cosines = labels @ vector
            bias = -self._scale * float(neutral @ vector) if self._bias is None else self._bias
            scores.append(np.asarray(self._scale * cosines + bias, np.float32))
        return scores

    def _embed_pictures(self, pictures: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """Return unit vectors (n_pictures, n_dimensions) float32."""
        import torch
        from PIL import Image

        rows = []
        with torch.inference_mode():
            for start in range(0, len(pictures), BATCH):
                images = [Image.fromarray(pixels) for pixels in pictures[start : start + BATCH]]
                values = self._processor(images=images, return_tensors="pt")["pixel_values"]
                features = self._model.get_image_features(pixel_values=values.to(self._device, self._dtype))
                rows.append(_vectors(features))
        return np.concatenate(rows)

    def _embed_labels(self, classifier: Classifier) -> tuple[Values, Values]:
        """Return unit vectors of the labels (n_labels, n_dimensions) and of the neutral text (n_dimensions,)."""
        descriptions = dict(classifier.descriptions)
        rows = []
        for label in classifier.labels:
            texts = [label, f"a picture of {label}"]
            if label in descriptions:
                texts += [descriptions[label], f"{label}: {descriptions[label]}"]
            rows.append(unit(self._embed_texts(texts).mean(axis=0)))
        return np.stack(rows), self._embed_texts([NEUTRAL_TEXT])[0]

    def _embed_texts(self, texts: list[str]) -> Values:
        import torch

        # SigLIP was trained on texts padded to full length; CLIP ignores the padding.
        tokens = self._processor(text=texts, padding="max_length", truncation=True, return_tensors="pt")
        inputs = {name: value.to(self._device) for name, value in tokens.items()}
        with torch.inference_mode():
            return _vectors(self._model.get_text_features(**inputs))


def _vectors(features: Any) -> npt.NDArray[np.float32]:
    tensor = getattr(features, "pooler_output", features)
    return unit(tensor.float().cpu().numpy())


def _load_message(name: str, reason: str) -> str:
    return (
        f"visual_model {name!r} can't be loaded: {reason.rstrip('.')}. Give 'embedded', 'none', or the folder or "
        "Hugging Face id of a CLIP or SigLIP model."
    )
