"""Look at a model's files before anything is loaded, so that mistakes are reported in seconds and in plain words."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classer_core import hardware
from classer_core.errors import ModelLoadError

if TYPE_CHECKING:
    from classer_core.models.spec import ModelSpec

CONFIG, MODULES = "config.json", "modules.json"
WEIGHT_SUFFIXES = (".safetensors", ".bin")
STORED_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
# What a forward pass takes beside the weights: activations of one batch, kernels, the copy while weights are converted.
MEMORY_FACTOR = 1.2
MIB = 1 << 20
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")


@dataclass(frozen=True)
class ModelFiles:
    """What is known of a model before it is loaded.

    Attributes:
        config: content of its config.json; empty if it has none.
        has_modules: whether it says itself that it is a sentence-transformers model, with a modules.json.
        commit: the hub's commit of these files; None for a local folder.
        weights_bytes: size of its weights as stored; None if nobody can say.
    """

    config: dict[str, Any]
    has_modules: bool
    commit: str | None
    weights_bytes: int | None

    @property
    def architecture(self) -> str:
        """Return the name of its class in transformers, such as `BertForSequenceClassification`."""
        names = self.config.get("architectures") or ["unknown"]
        return str(names[0])

    @property
    def label_names(self) -> list[str]:
        """Return the names of its outputs, in their order; `LABEL_0` and so on if the model does not name them."""
        names = self.config.get("id2label")
        if isinstance(names, dict) and names:
            return [str(names[key]) for key in sorted(names, key=int)]
        count = self.config.get("num_labels") or 2
        return [f"LABEL_{number}" for number in range(int(count))]


def look_at(spec: ModelSpec) -> ModelFiles:
    """Return what a model's small files say; of a hub model only these are downloaded.

    Raises:
        ModelLoadError: there is no such model, it can't be reached, or files are missing.
    """
    folder = Path(spec.source)
    if folder.is_dir():
        if spec.revision is not None:
            raise failed(spec, "a local folder has no revisions", "Leave out revision")
        config_file = folder / CONFIG
        if not config_file.is_file() and not (folder / MODULES).is_file():
            raise failed(spec, f"the folder has no {CONFIG}", "Give a folder that save_pretrained has written")
        return ModelFiles(_read(spec, config_file), (folder / MODULES).is_file(), None, _stored_bytes(folder))
    if not _HUB_ID.fullmatch(spec.source):
        raise failed(spec, "there is no such folder, and it is not a Hugging Face id", "Correct the path or the id")
    return _look_at_hub(spec)


def check_memory(spec: ModelSpec, files: ModelFiles, bytes_a_weight: int, device: str) -> None:
    """Compare the memory that a model will take with what is free.

    Args:
        spec: the model.
        files: what `look_at` found.
        bytes_a_weight: of the number format that the model is loaded in.
        device: `cpu`, `cuda` or `mps`.

    Raises:
        ModelLoadError: it does not fit.
    """
    free = hardware.free_memory_bytes(device)
    if files.weights_bytes is None or free is None:
        return
    needed = estimated_bytes(files, bytes_a_weight)
    if needed > free:
        place = "the GPU" if device == "cuda" else "this machine"
        message = f"it needs about {needed // MIB:,} MiB of memory, and {place} has {free // MIB:,} MiB free"
        raise failed(spec, message, "Take a smaller model, or a machine with more memory")


def estimated_bytes(files: ModelFiles, bytes_a_weight: int) -> int:
    """Return the bytes that a model takes when it is loaded with so many bytes a weight.

    >>> estimated_bytes(ModelFiles({"dtype": "float32"}, False, None, 4_000), bytes_a_weight=2)
    2400
    """
    stored = str(files.config.get("dtype") or files.config.get("torch_dtype") or "float32")
    n_weights = (files.weights_bytes or 0) / STORED_BYTES.get(stored, 2)
    return round(n_weights * bytes_a_weight * MEMORY_FACTOR)


def check_remote_code(spec: ModelSpec, files: ModelFiles) -> None:
    """Refuse a model that needs code of its own unless the job trusts it.

    Raises:
        ModelLoadError: transformers does not know the model, and its code is not trusted.
    """
    from transformers import CONFIG_MAPPING

    is_known = files.config.get("model_type") in CONFIG_MAPPING
    if "auto_map" in files.config and not is_known and not spec.trust_remote_code:
        remedy = "Read that code, then set model.trust_remote_code: true and pin model.revision"
        raise failed(spec, "it needs code that comes with it", remedy)


def failed(spec: ModelSpec, reason: str, remedy: str) -> ModelLoadError:
    """Return the error of a model that can't be loaded."""
    reason = " ".join(reason.split())
    return ModelLoadError(f"model {spec.id!r} can't be loaded: {reason[:400].rstrip('.')}. {remedy}.")


def _look_at_hub(spec: ModelSpec) -> ModelFiles:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        config_file: Path | None = Path(hf_hub_download(spec.source, CONFIG, revision=spec.revision))
    except GatedRepoError as error:
        remedy = "Accept its terms on its page, and set HF_TOKEN where the job runs"
        raise failed(spec, "its publisher asks for consent before it can be downloaded (gated)", remedy) from error
    except RepositoryNotFoundError as error:
        remedy = "Correct the id; for a private model set HF_TOKEN where the job runs"
        raise failed(spec, "the hub has no such model", remedy) from error
    except RevisionNotFoundError as error:
        raise failed(spec, f"it has no revision {spec.revision!r}", "Correct model.revision") from error
    except LocalEntryNotFoundError as error:
        message = "the hub can't be reached, and the model is not in its local cache"
        remedy = "Download it where there is a network (hf download ID), or give a local folder"
        raise failed(spec, message, remedy) from error
    except EntryNotFoundError:
        config_file = None  # models of several parts have their config.json inside these
    except OSError as error:
        raise failed(spec, f"the hub answers: {error}", "Try again later, or give a local folder") from error
    if config_file is None:
        return ModelFiles({}, True, None, None)
    snapshot = config_file.parent
    return ModelFiles(_read(spec, config_file), _has_modules(spec, snapshot), snapshot.name, _hub_bytes(spec, snapshot))


def _has_modules(spec: ModelSpec, snapshot: Path) -> bool:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    if (snapshot / MODULES).is_file():
        return True
    try:
        hf_hub_download(spec.source, MODULES, revision=spec.revision)
    except (HfHubHTTPError, OSError):  # it has none, or it is not in the cache and the hub can't be reached
        return False
    return True


def _hub_bytes(spec: ModelSpec, snapshot: Path) -> int | None:
    """Return the size of the weights; asks the hub unless they are here already."""
    if stored := _stored_bytes(snapshot):
        return stored
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        info = HfApi().model_info(spec.source, revision=spec.revision, files_metadata=True, timeout=10)
    except (HfHubHTTPError, OSError):  # loading will say what is wrong
        return None
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    return _weights_of(sizes)


def _stored_bytes(folder: Path) -> int | None:
    return _weights_of({path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()})


def _weights_of(sizes: dict[str, int]) -> int | None:
    """Return the bytes of the weights among files; only one format counts, as only one is loaded.

    >>> _weights_of({"model.safetensors": 10, "pytorch_model.bin": 11, "config.json": 1})
    10
    """
    for suffix in WEIGHT_SUFFIXES:
        if total := sum(size for name, size in sizes.items() if name.endswith(suffix) and "/" not in name):
            return total
    return None


def _read(spec: ModelSpec, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise failed(spec, f"{path} can't be read: {error}", "Download the model again") from error
    if not isinstance(content, dict):
        raise failed(spec, f"{path} is not a JSON object", "Download the model again")
    return content
