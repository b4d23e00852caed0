"""Classify texts, pictures and documents with calibrated confidence. This package does not need Apache Beam.

import classer_core as classer

classer.classify(text="We need pricing for 500 users", labels=["hot", "warm", "cold"]).label
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classer_core.api import BatchResponse as BatchResponse
    from classer_core.api import classify as classify
    from classer_core.api import classify_batch as classify_batch
    from classer_core.api import tag as tag
    from classer_core.api import tag_batch as tag_batch
    from classer_core.classifiers import Classifier as Classifier
    from classer_core.engine import Engine as Engine
    from classer_core.errors import AnotherRunError as AnotherRunError
    from classer_core.errors import ClasserError as ClasserError
    from classer_core.errors import FailureCode as FailureCode
    from classer_core.errors import JobError as JobError
    from classer_core.errors import LearningError as LearningError
    from classer_core.errors import ModelLoadError as ModelLoadError
    from classer_core.errors import Problem as Problem
    from classer_core.errors import RecordError as RecordError
    from classer_core.errors import StorageError as StorageError
    from classer_core.errors import TooManyFailuresError as TooManyFailuresError
    from classer_core.errors import UnreadableFilesError as UnreadableFilesError
    from classer_core.learning import Lesson as Lesson
    from classer_core.learning import learn as learn
    from classer_core.models import Model as Model
    from classer_core.models import Scores as Scores
    from classer_core.models.loading import load_model as load_model
    from classer_core.models.spec import ModelSpec as ModelSpec
    from classer_core.records import Failure as Failure
    from classer_core.records import LabelConfidence as LabelConfidence
    from classer_core.records import Record as Record
    from classer_core.records import Result as Result
    from classer_core.saved import ClassifierStore as ClassifierStore

__version__ = "0.1.0"

# Imported on first use: the sandboxed parser processes import this package and need none of these modules.
_MODULES = {
    "api": ["BatchResponse", "classify", "classify_batch", "tag", "tag_batch"],
    "classifiers": ["Classifier"],
    "engine": ["Engine"],
    "errors": [
        *["AnotherRunError", "ClasserError", "FailureCode", "JobError", "LearningError", "ModelLoadError", "Problem"],
        *["RecordError", "StorageError", "TooManyFailuresError", "UnreadableFilesError"],
    ],
    "learning": ["Lesson", "learn"],
    "models": ["Model", "Scores"],
    "models.loading": ["load_model"],
    "models.spec": ["ModelSpec"],
    "records": ["Failure", "LabelConfidence", "Record", "Result"],
    "saved": ["ClassifierStore"],
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOMES, key=lambda name: (name.islower(), name))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
