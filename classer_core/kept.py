"""Check answers that were read back from a cache or an output: they may be damaged, outdated or forged."""

from __future__ import annotations

import math
import re
from typing import Any

from classer_core.classifiers import Classifier, is_clean
from classer_core.records import Answer, LabelConfidence, Record

# Confidences are compared with the threshold first and rounded to 4 decimals afterwards.
ROUNDING = 0.00005
MAX_COUNT = (1 << 63) - 1
MAX_MODEL_CHARS = 1_000
_EVIDENCE = re.compile(r"text|file|page [1-9]\d{0,3}|image [1-9]\d{0,3}")


def is_answer_to(answer: Answer, record: Record) -> bool:
    """Return whether a model could have given this answer to this record, by its labels, numbers and types.

    The fields of `answer` may have any type.
    """
    return (
        _is_choice(answer, record.classifier)
        and _is_count(answer.tokens)
        and (answer.visual_tokens is None or _is_count(answer.visual_tokens))
        and isinstance(answer.model, str)
        and 0 < len(answer.model) <= MAX_MODEL_CHARS
        and is_clean(answer.model)
        and _is_share(answer.coverage)
        and _is_evidence(answer.evidence, bool(record.attachments))
        and _are_scores(answer.scores, record)
    )


def _is_choice(answer: Answer, classifier: Classifier) -> bool:
    if classifier.mode == "multi":
        return answer.label is None and _are_choices(answer.labels, answer.confidence, classifier)
    is_label = isinstance(answer.label, str) and answer.label in classifier.labels
    return is_label and answer.labels is None and _is_share(answer.confidence)


def _are_choices(labels: Any, confidence: Any, classifier: Classifier) -> bool:
    """Return whether `labels` are labels of the classifier, each once, above the threshold, best first."""
    if labels == []:
        return confidence is None
    return (
        _are_ranked(labels, classifier)
        and labels[-1].confidence >= classifier.threshold - ROUNDING
        and _is_share(confidence)
        and confidence == labels[0].confidence
    )


def _are_scores(scores: Any, record: Record) -> bool:
    """Return whether `scores` are as many labels as the record asks for, best first, and none if it asks for none."""
    if not record.scores:
        return scores is None
    return _are_ranked(scores, record.classifier) and len(scores) == record.scores_listed


def _are_ranked(labels: Any, classifier: Classifier) -> bool:
    """Return whether `labels` are labels of the classifier, each once, with confidences, best first."""
    if not isinstance(labels, list) or not all(isinstance(item, LabelConfidence) for item in labels):
        return False
    names, confidences = [item.label for item in labels], [item.confidence for item in labels]
    return (
        all(isinstance(name, str) and name in classifier.labels for name in names)
        and len(set(names)) == len(names)
        and all(_is_share(value) for value in confidences)
        and confidences == sorted(confidences, reverse=True)
    )


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _is_evidence(value: Any, has_attachments: bool) -> bool:
    if not has_attachments:
        return value is None
    return value is None or (isinstance(value, str) and _EVIDENCE.fullmatch(value) is not None)
