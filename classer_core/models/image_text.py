"""Image-text models of transformers (CLIP, SigLIP and their kin): a label scores by its likeness to the picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classer_core import hardware
from classer_core.classifiers import Classifier
from classer_core.contents import Look, Pixels
from classer_core.errors import ModelLoadError
from classer_core.models.visual import Values

BATCH = 32
# What any picture shows: a label is there if it says more of the picture than this.
NEUTRAL_TEXT = "a picture"
# A processor cuts out the middle of a picture: its long side may be this much longer than what the model sees.
SIDE_FACTOR = 2


class ImageTextModel:
    """Any model of transformers with `get_image_features` and `get_text_features`."""

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
    def load(cls, name: str) -> ImageTextModel:
        """A Hugging Face id or local folder in, the model on its best device out.

        Raises:
            ModelLoadError: it can't be loaded, or does not match pictures with texts.
        """
        from transformers import AutoModel, AutoProcessor

        from classer_core.models.general import quiet_loading, weights_digest

        device = hardware.best_device()
        local = Path(name).is_dir()
        with quiet_loading():
            try:
                model = AutoModel.from_pretrained(name, dtype=hardware.best_dtype(device), local_files_only=local)
                processor: Any = AutoProcessor.from_pretrained(name, local_files_only=local)  # type: ignore[no-untyped-call]
            except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError) as error:
                raise ModelLoadError(_load_message(name, " ".join(str(error).split())[:300])) from error
        if not hasattr(model, "get_image_features") or not hasattr(model, "logit_scale"):
            raise ModelLoadError(_load_message(name, "it does not match pictures with texts"))
        model.to(device).eval()
        return cls(model, processor, name, weights_digest(model))

    @property
    def look(self) -> Look:
        """Every page and picture, about as large as the model sees it."""
        return Look("all", SIDE_FACTOR * self._side_px)

    @property
    def tokens_a_picture(self) -> int:
        """Patches and the class token."""
        return self._tokens

    def read(self, pictures: Sequence[Pixels]) -> list[str]:
        """It does not read."""
        return [""] * len(pictures)

    def share(self, text_chars: int) -> float:
        """Pictures and text count alike."""
        return 0.5 if text_chars else 1.0

    def score(self, pictures: Sequence[Pixels], classifiers: Sequence[Classifier]) -> list[Values]:
        """See `VisualModel.score`: the model's own logits, which it was trained to give as probabilities."""
        vectors = self._embed_pictures(pictures)
        scores = []
        for vector, classifier in zip(vectors, classifiers, strict=True):
            labels, neutral = self._text_vectors(classifier)
            cosines = labels @ vector
            bias = -self._scale * float(neutral @ vector) if self._bias is None else self._bias
            scores.append(np.asarray(self._scale * cosines + bias, np.float32))
        return scores

    def _embed_pictures(self, pictures: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """(n_pictures, n_dimensions) float32 unit vectors."""
        import torch
        from PIL import Image

        rows = []
        with torch.inference_mode():
            for start in range(0, len(pictures), BATCH):
                images = [Image.fromarray(pixels) for pixels in pictures[start : start + BATCH]]
                given = self._processor(images=images, return_tensors="pt")["pixel_values"]
                features = self._model.get_image_features(pixel_values=given.to(self._device, self._dtype))
                rows.append(_vectors(features))
        return np.concatenate(rows)

    def _embed_labels(self, classifier: Classifier) -> tuple[Values, Values]:
        """(n_labels, n_dimensions) unit vectors, and the one of a text that fits any picture."""
        descriptions = dict(classifier.descriptions)
        rows = []
        for label in classifier.labels:
            texts = [label, f"a picture of {label}"]
            if label in descriptions:
                texts += [descriptions[label], f"{label}: {descriptions[label]}"]
            rows.append(_unit(self._embed_texts(texts).mean(axis=0)))
        return np.stack(rows), self._embed_texts([NEUTRAL_TEXT])[0]

    def _embed_texts(self, texts: list[str]) -> Values:
        import torch

        # SigLIP was trained on texts padded to full length; CLIP does not mind.
        tokens = self._processor(text=texts, padding="max_length", truncation=True, return_tensors="pt")
        given = {name: value.to(self._device) for name, value in tokens.items()}
        with torch.inference_mode():
            return _vectors(self._model.get_text_features(**given))


def _vectors(features: Any) -> npt.NDArray[np.float32]:
    tensor = getattr(features, "pooler_output", features)
    return _unit(tensor.float().cpu().numpy())


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float32)


def _load_message(name: str, reason: str) -> str:
    return (
        f"visual_model {name!r} can't be loaded: {reason.rstrip('.')}. Give 'embedded', 'none', or the folder or "
        "Hugging Face id of a CLIP or SigLIP model."
    )
