"""A cascade: the second model is asked where the first is not sure, rows say who answered, both cost tokens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from classer_core import Classifier, Engine, JobError, Record, RecordError, Result, Scores
from classer_core.models.cascade import Cascade
from classer_core.models.spec import CascadeSpec, ModelSpec
from pipelines.job import load_job
from tests import tiny_models as tiny
from tests.classer_core.models.test_cross_encoders import make_finetuned

LABELS = Classifier.of(["no", "yes"])


class Sure:
    """Says yes, as surely as the text says: a number from 0 to 1."""

    def __init__(self, id: str, label: str) -> None:
        self.id = id
        self.texts: list[str] = []
        self._label = label

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        self.texts += [text for [text] in texts]
        gaps = [np.log(float(text) / (1 - float(text))) for [text] in texts]
        return [
            Scores(np.array([gap if label == self._label else 0 for label in own.labels], np.float32), 10)
            for gap, own in zip(gaps, classifiers, strict=True)
        ]


def test_the_second_is_asked_below_the_limit() -> None:
    first, then = Sure("first@1", "yes"), Sure("then@1", "no")
    texts = ["0.95", "0.65", "0.8", "0.71", "0.51"]
    engine = Engine(Cascade(first, then, below=0.7))
    outcomes = engine.classify([Record(str(n), text, LABELS) for n, text in enumerate(texts)])
    answers = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    assert first.texts == texts and then.texts == ["0.65", "0.51"]
    assert [answer.label for answer in answers] == ["yes", "no", "yes", "yes", "no"]
    assert [answer.model for answer in answers] == ["first@1", "then@1", "first@1", "first@1", "then@1"]
    assert [answer.tokens for answer in answers] == [10, 20, 10, 10, 20]


def test_what_changes_answers_changes_the_id() -> None:
    first, then = Sure("first@1", "yes"), Sure("then@1", "no")
    ids = {Cascade(first, then, 0.7).id, Cascade(first, then, 0.8).id, Cascade(then, first, 0.7).id}
    assert len(ids) == 3


def test_a_job_with_a_cascade(tmp_path: Path) -> None:
    folder = make_finetuned(tmp_path / "model", list(tiny.TOPICS))
    (tmp_path / "texts.csv").write_text("id,text\n1,some rain\n")
    document = {
        "source": {"format": "csv", "path": "texts.csv"},
        "labels": list(tiny.TOPICS),
        "output": {"path": "out"},
        "model": {"first": "embedded", "then": f"finetuned:{folder}", "below": 1},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    job = load_job(tmp_path / "job.yaml")
    assert job.model == CascadeSpec(first=ModelSpec(), then=ModelSpec(id=f"finetuned:{folder}"), below=1.0)
    assert job.model.to_document() == document["model"] | {"below": 1.0}
    rows = tiny.texts(60)
    scores = tiny.load_model(job.model).score([(text,) for text, _ in rows], [Classifier.of(list(tiny.TOPICS))] * 60)
    answered = [one for one in scores if isinstance(one, Scores)]
    assert sum(str(one.model).startswith("finetuned:") for one in answered) >= 50
    labels = sorted(tiny.TOPICS)
    assert sum(labels[one.values.argmax()] == topic for one, (_, topic) in zip(answered, rows, strict=True)) >= 54


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"first": "embedded", "below": 0.7}, "model.then: is missing"),
        ({"then": "embedded", "below": 7}, "model.below = 7: input should be less than or equal to 1"),
        ({"then": "nokind:a", "below": 0.7}, "model.then.id = 'nokind:a': 'nokind' is not a kind of model"),
        ({"then": {"id": "a/b", "revison": "v1"}, "below": 0.7}, "Did you mean 'revision'?"),
    ],
)
def test_wrong_cascades(model: object, message: str, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("id,text\n1,some rain\n")
    document = {"source": {"format": "csv", "path": "texts.csv"}, "labels": ["a", "b"], "output": {"path": "out"}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document | {"model": model}))
    with pytest.raises(JobError) as raised:
        load_job(tmp_path / "job.yaml")
    assert message in str(raised.value)
