"""Read folders of sentence-transformers models without importing sentence-transformers or transformers."""

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
    """The exact encoder does not support a model; the message says why."""


@dataclass(frozen=True)
class ModelFolder:
    """The contents of the folder of a model of the BERT family.

    Attributes:
        config: shape of the network.
        tensors: name -> tensor, as stored.
        tokenizer: a `tokenizers.Tokenizer`.
        window_tokens: most tokens of a window, special tokens included.
        prompts: kind of text -> text before every text of this kind.
    """

    config: EncoderConfig
    tensors: dict[str, torch.Tensor]
    tokenizer: Any
    window_tokens: int
    prompts: Mapping[str, str]


def hub_folder(name: str, revision: str | None = None) -> Path:
    """Return a model's folder: the local one of this name, or that in the Hugging Face cache, downloaded if necessary.

    Raises:
        UnpackableError: the hub does not have the model, or the exact encoder does not support its architecture.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        _config(Path(hf_hub_download(name, "config.json", revision=revision)).parent)
        return Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
    except UnpackableError:
        raise
    except Exception as error:  # GeneralEncoder asks the hub again and reports the error
        raise UnpackableError(f"it can't be downloaded from the hub: {error}") from error


def read_folder(folder: Path) -> ModelFolder:
    """Return the contents of a model's folder.

    Raises:
        UnpackableError: the model is of another kind, or a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    config = _config(folder)
    settings = _json(folder / "sentence_bert_config.json")
    if settings.get("do_lower_case"):
        raise UnpackableError("sentence_bert_config.json: do_lower_case is not supported")
    try:
        tensors = load_file(folder / WEIGHTS)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except (OSError, SafetensorError) as error:
        raise UnpackableError(f"{folder}: {error}") from error
    except Exception as error:  # the library raises plain `Exception`
        raise UnpackableError(f"{folder / 'tokenizer.json'}: {error}") from error
    max_length = settings.get("max_seq_length") or _json(folder / "tokenizer_config.json").get("model_max_length")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    window_tokens = min(int(max_length or config.max_tokens), config.max_tokens)
    return ModelFolder(config, tensors, tokenizer, window_tokens, {key: text for key, text in prompts.items() if text})


def _config(folder: Path) -> EncoderConfig:
    pooling, normalize = _modules(folder)
    try:
        return EncoderConfig.of(_json(folder / "config.json"), pooling, normalize)
    except (ValueError, KeyError) as error:
        raise UnpackableError(f"in {folder / 'config.json'}: {error}") from error


def _modules(folder: Path) -> tuple[Literal["mean", "cls"], bool]:
    """Return how the model pools and whether it normalises; mean pooling without normalising if nothing is stated."""
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
            raise UnpackableError(f"modules.json: the module {kind} is not supported")
    return pooling, normalize


def _pooling(settings: Mapping[str, Any]) -> Literal["mean", "cls"]:
    enabled = [
        name.removeprefix("pooling_mode_") for name, on in settings.items() if name.startswith("pooling_mode_") and on
    ]
    short_names = {"mean_tokens": "mean", "cls_token": "cls"}
    if "pooling_mode" in settings:
        modes = {settings["pooling_mode"]}
    else:
        modes = {short_names.get(name, name) for name in enabled}
    if settings.get("include_prompt") is False:
        raise UnpackableError("pooling without the prompt is not supported")
    if modes == {"cls"}:
        return "cls"
    if modes == {"mean"}:
        return "mean"
    raise UnpackableError(f"pooling {sorted(modes)} is not supported")


def _json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; an empty mapping if there is no such file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnpackableError(f"{path}: {error}") from error
    return content
