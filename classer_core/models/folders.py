"""Folders of sentence-transformers models, read without that library and without transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from classer_core.models.packed import EncoderConfig

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
FILES = ["*.json", f"/{WEIGHTS}", WEIGHTS]


class UnpackableError(ValueError):
    """The exact encoder can't compute this model; the message says why."""


@dataclass(frozen=True)
class ModelFolder:
    """A model of the BERT family as its files describe it."""

    config: EncoderConfig
    tensors: dict[str, torch.Tensor]
    tokenizer: Any
    window_tokens: int
    prompts: Mapping[str, str]


def hub_folder(name: str) -> Path:
    """Return the local folder of this name, or the folder that the Hugging Face hub's cache has, or gets, for it.

    Raises:
        UnpackableError: there is none, or its architecture is of another kind.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        _config(Path(hf_hub_download(name, "config.json")).parent)
        return Path(snapshot_download(name, allow_patterns=FILES))
    except UnpackableError:
        raise
    except Exception as error:  # the general path asks the hub again, and says what is wrong
        raise UnpackableError(f"the hub does not give it: {error}") from error


def read_folder(folder: Path) -> ModelFolder:
    """Read all files of a model.

    Raises:
        UnpackableError: its kind is another one, or a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    config = _config(folder)
    settings = _json(folder / "sentence_bert_config.json")
    if settings.get("do_lower_case"):
        raise UnpackableError("its texts are lowered before they are tokenized")
    try:
        tensors = load_file(folder / WEIGHTS)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except (OSError, SafetensorError) as error:
        raise UnpackableError(f"{folder}: {error}") from error
    except Exception as error:  # tokenizers raises bare ones
        raise UnpackableError(f"{folder / 'tokenizer.json'}: {error}") from error
    asked = settings.get("max_seq_length") or _json(folder / "tokenizer_config.json").get("model_max_length")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    window_tokens = min(int(asked or config.max_tokens), config.max_tokens)
    return ModelFolder(config, tensors, tokenizer, window_tokens, {key: text for key, text in prompts.items() if text})


def _config(folder: Path) -> EncoderConfig:
    pooling, normalize = _modules(folder)
    try:
        return EncoderConfig.of(_json(folder / "config.json"), pooling, normalize)
    except (ValueError, KeyError) as error:
        raise UnpackableError(f"in {folder / 'config.json'}: {error}") from error


def _modules(folder: Path) -> tuple[Literal["mean", "cls"], bool]:
    """How the model pools, and whether it normalises; mean and no where it does not say."""
    pooling: Literal["mean", "cls"] = "mean"
    normalize = False
    modules: Any = _json(folder / "modules.json") or []
    for module in modules[1:]:
        kind = module["type"].rpartition(".")[2]
        if kind == "Normalize":
            normalize = True
        elif kind == "Pooling":
            pooling = _pooling(_json(folder / module["path"] / "config.json"))
        else:
            raise UnpackableError(f"it has a module {kind}")
    return pooling, normalize


def _pooling(settings: Mapping[str, Any]) -> Literal["mean", "cls"]:
    chosen = [
        name.removeprefix("pooling_mode_") for name, on in settings.items() if name.startswith("pooling_mode_") and on
    ]
    named = {"mean_tokens": "mean", "cls_token": "cls"}
    ways = {settings["pooling_mode"]} if "pooling_mode" in settings else {named.get(name, name) for name in chosen}
    if settings.get("include_prompt") is False:
        raise UnpackableError("its prompts are left out of the pooling")
    if ways == {"cls"}:
        return "cls"
    if ways == {"mean"}:
        return "mean"
    raise UnpackableError(f"its pooling is {sorted(ways)}")


def _json(path: Path) -> dict[str, Any]:
    """A file's content; an empty one where there is no such file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnpackableError(f"{path}: {error}") from error
    return content
