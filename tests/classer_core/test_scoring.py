import numpy as np
import pytest

from classer_core import Classifier
from classer_core.scoring import above_threshold, choose, exclusive

LABELS = ["a", "b", "c"]


def test_single_takes_the_best_and_confidences_sum_to_one() -> None:
    values = np.array([2, 8, 4], np.float32)
    label, confidence = choose(values, Classifier.of(LABELS))
    assert label == "b"
    assert confidence == round(float(exclusive(values)[1]), 4)
    assert exclusive(values).sum() == pytest.approx(1)


def test_one_label_is_detection() -> None:
    spam = Classifier.of(["spam"])
    assert choose(np.array([3], np.float32), spam)[1] == pytest.approx(0.9526, abs=1e-4)
    assert choose(np.array([-5], np.float32), spam) == ("spam", pytest.approx(0.0067, abs=1e-4))


def test_multi_gives_labels_above_the_threshold_best_first() -> None:
    classifier = Classifier.of(LABELS, mode="multi", threshold=0.5)
    found = above_threshold(np.array([1, -3, 5], np.float32), classifier)
    assert [item.label for item in found] == ["c", "a"]
    assert found[0].confidence > found[1].confidence >= 0.5
    assert above_threshold(np.array([-5, -3, -3], np.float32), classifier) == []


def test_equal_scores_keep_the_order_of_the_labels() -> None:
    assert choose(np.array([2, 2, 2], np.float32), Classifier.of(LABELS))[0] == "a"
