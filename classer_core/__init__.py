"""Bulk classification, the part that knows nothing of Beam.

import classer_core as classer

classer.classify(text="We need pricing for 500 users", labels=["hot", "warm", "cold"]).label
"""

from classer_core.api import BatchResponse, classify, classify_batch
from classer_core.classifiers import Classifier
from classer_core.engine import Engine
from classer_core.errors import ClasserError, FailureCode, JobError, ModelLoadError, RecordError, TooManyFailuresError
from classer_core.models import Model, Scores, load_model
from classer_core.records import Failure, LabelConfidence, Record, Result

__all__ = [
    "BatchResponse",
    "ClasserError",
    "Classifier",
    "Engine",
    "Failure",
    "FailureCode",
    "JobError",
    "LabelConfidence",
    "Model",
    "ModelLoadError",
    "Record",
    "RecordError",
    "Result",
    "Scores",
    "TooManyFailuresError",
    "classify",
    "classify_batch",
    "load_model",
]
