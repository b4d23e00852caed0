"""How the embedded weights are made: what is trained on, that training learns and repeats, and how it is stored."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from classer_core.models import embedded
from classer_core.training import train as train_module
from classer_core.training.compress import save_int8
from classer_core.training.network import bert
from classer_core.training.tasks import Recipe, Task, pool_rows, text_types, training_tasks
from classer_core.training.train import Episode, Neighbours, Settings, State, train

README = """# Pool

| set | task in words | a text is | labels |
|---|---|---|---|
| pets | which pet | sentence about a pet | 2 |
"""


def rows(labels: dict[str, list[str]], **more: Any) -> list[dict[str, Any]]:
    return [{"text": text, "label": label, **more} for label, texts in labels.items() for text in texts]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three pools: `pets` in two of them, a task in two languages, one that is kept out, and a test set."""

    def write(path: str, content: list[dict[str, Any]]) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("\n".join(map(json.dumps, content)), encoding="utf-8")

    pets = {
        "dog": ["It barks.", "Walk it.", "A puppy."],
        "cat": ["It purrs.", "It  MIAOWS\u2028loudly.", "A kitten.", "Feed it."],
    }
    write("train_pool/pets.jsonl", rows(pets, description="an animal"))
    write(
        "train_pool_en/pets.jsonl",
        rows({"fish": ["It swims.", "A carp.", "A pike."], "owl": ["a", "b", "c", "It barks!"]}),
    )
    german = [
        {"text": f"Satz {number} {label}", "label": label, "label_local": local, "lang": "de"}
        for label, local in (("dog", "Hund"), ("cat", "Katze"))
        for number in range(40)
    ]
    write("train_pool_multilingual/animals.jsonl", german + rows({"dog": ["Le chien"], "cat": ["Le chat"]}, lang="fr"))
    write("train_pool_en/secret.jsonl", rows({"x": ["It  barks!", "p", "q"], "y": ["r", "s", "t"]}))
    for pool in ("train_pool", "train_pool_multilingual"):
        (tmp_path / pool / "README.md").write_text("# no table\n")
    (tmp_path / "train_pool_en" / "README.md").write_text(README)
    write("text/some_set/test.jsonl", [{"text": "it miaows loudly.", "label": "x"}])
    return tmp_path


def test_test_texts_and_tasks_that_are_kept_out_are_not_trained_on(corpus: Path) -> None:
    tasks = training_tasks(corpus, Recipe(kept_out=("secret",), related=(), factors={}))
    texts = {text for task in tasks for own in task.texts for text in own}
    assert "It  MIAOWS\u2028loudly." not in texts and "It purrs." in texts
    # "It barks!" is also a text of the task that is kept out.
    assert "It barks!" not in texts and "It barks." in texts
    assert not {"p", "q", "r", "s", "t"} & texts


def test_tasks_have_unique_names_wordings_and_languages(corpus: Path) -> None:
    recipe = Recipe(kept_out=("secret",), related=(), factors={"animals": 0.5})
    tasks = {task.name: task for task in training_tasks(corpus, recipe)}
    assert sorted(tasks) == [
        "train_pool/pets",
        "train_pool_en/pets",
        "train_pool_multilingual/animals",
        "train_pool_multilingual/animals/de",
    ]
    assert tasks["train_pool/pets"].descriptions == [["an animal"], ["an animal"]]
    assert tasks["train_pool_en/pets"].text_types == ["sentence about a pet"]
    assert tasks["train_pool_multilingual/animals/de"].names == [["Hund"], ["Katze"]]
    assert tasks["train_pool_multilingual/animals"].names == [["cat"], ["dog"]]
    assert tasks["train_pool_multilingual/animals"].weight == pytest.approx(0.5 * 2**0.5)
    assert tasks["train_pool_en/pets"].weight == pytest.approx(2**0.5)


def test_related_tasks_are_left_out_too(corpus: Path) -> None:
    tasks = training_tasks(corpus, Recipe(kept_out=("secret",), related=("animals",), factors={}))
    assert [task.name for task in tasks] == ["train_pool/pets", "train_pool_en/pets"]


def test_a_task_that_no_pool_has_is_an_error(corpus: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no pool of .* has a task 'nothing'"):
        pool_rows(corpus, "nothing")
    assert text_types(corpus) == {"pets": "sentence about a pet"}


def test_the_recipe_keeps_out_24_tasks_of_which_9_are_not_english() -> None:
    recipe = Recipe.load()
    assert len(recipe.kept_out) == len(set(recipe.kept_out)) == 24
    assert not set(recipe.kept_out) & (set(recipe.related) | recipe.factors.keys())


def task(n_labels: int) -> Task:
    names = [[f"label {number}"] for number in range(n_labels)]
    texts = [[f"text {number} {copy}" for copy in range(4)] for number in range(n_labels)]
    return Task("a task", texts, names, [[f"described {number}"] for number in range(n_labels)], ["report"], 1.0)


@pytest.fixture
def line_of_labels() -> Callable[[Task], Neighbours]:
    """Labels whose vectors lie on a quarter of a circle: each is nearest to those beside it."""

    def made(one: Task) -> Neighbours:
        angles = np.linspace(0, np.pi / 2, len(one.names))
        return Neighbours([one], lambda words: np.stack([np.cos(angles), np.sin(angles)], axis=1))

    return made


def test_neighbours_are_the_nearest_labels(line_of_labels: Callable[[Task], Neighbours]) -> None:
    drawn = line_of_labels(task(30)).draw(random.Random(1), task(30), 5)
    assert len(set(drawn)) == 5 and max(drawn) - min(drawn) <= 8


@pytest.mark.parametrize("n_labels", [2, 3, 20, 60])
def test_episodes_show_two_texts_of_each_label_at_least(
    n_labels: int, line_of_labels: Callable[[Task], Neighbours]
) -> None:
    one, rng = task(n_labels), random.Random(n_labels)
    neighbours = line_of_labels(one)
    for _ in range(50):
        episode: Episode = train_module._episode(rng, one, neighbours, Settings())
        assert len(episode.texts) == len(episode.targets) == Settings().texts_a_task
        counts = np.bincount(episode.targets)
        assert counts.min() >= 2 and 2 <= len(counts) <= len(episode.labels) <= Settings().labels_a_task
        for text, target in zip(episode.texts, episode.targets, strict=True):
            number = text.split()[1]
            assert f"label {number}" in f"{episode.labels[target]}." or f"described {number}" in episode.labels[target]


def test_prototypes_leave_the_text_itself_out() -> None:
    settings = Settings(label_smoothing=0.0)
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert train_module._prototype_loss(apart, torch.tensor([5, 5, 9, 9]), settings) < 1e-6
    # Each text is alone in its direction: were it part of its own mean, it would seem right.
    crossed = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert train_module._prototype_loss(crossed, torch.tensor([0, 0, 1, 1]), settings) > 1.0


def test_training_learns_and_repeats(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "REPORT_STEPS", 10)
    monkeypatch.setattr(train_module, "CHECKPOINT_STEPS", 20)
    words = ["<s>", "<pad>", "</s>", "<unk>", "dog", "cat", "barks", "purrs", "the", "a", "loudly"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    pets = [["the dog barks", "barks loudly", "a dog"], ["a cat purrs", "purrs loudly", "the cat"]]
    tasks = [Task("pets", pets, [["dog"], ["cat"]], [[], []], [], 1.0)]

    def run() -> tuple[State, State, list[int]]:
        torch.manual_seed(3)
        sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
        model = BertModel(BertConfig(vocab_size=len(words), **sizes), add_pooling_layer=False).eval()
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        steps: list[int] = []
        settings = Settings(steps=40, texts_a_task=4, learning_rate=5e-3, averaged_steps=5, frozen_layers=1)
        trained = train(model, tokenizer, tasks, settings, lambda step, state: steps.append(step))
        for name, weight in model.named_parameters():
            assert name in trained or torch.equal(weight, before[name]), name
        return before, trained, steps

    (before, once, steps), (_, twice, _) = run(), run()
    assert once.keys() == {name for name in before if name.startswith("encoder.layer.1.")}
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert steps == [20, 40]
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 8 and losses[3] < losses[0] / 2


def test_matrices_are_stored_as_int8_and_vectors_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(1)
    weights = {"layer.weight": torch.randn(8, 384), "layer.bias": torch.randn(8)}
    weights["layer.weight"][3] = 0  # a row of zeros has no scale of its own
    path = tmp_path / "new folder" / "weights.safetensors"
    save_int8(weights, path)
    stored = load_file(path)
    assert stored["layer.weight"].dtype == torch.int8 and stored["layer.weight.scale"].shape == (8,)
    again = stored["layer.weight"].float() * stored["layer.weight.scale"][:, None]
    assert (again - weights["layer.weight"]).abs().max() <= stored["layer.weight.scale"].max() / 2 + 1e-6
    assert torch.equal(again[3], torch.zeros(384))
    assert torch.equal(stored["layer.bias"], weights["layer.bias"])


@pytest.mark.integration
def test_the_network_has_the_layers_that_are_asked_for() -> None:
    published = embedded.open_published()
    model = bert(published, (0, 11))
    assert model.config.num_hidden_layers == len(model.encoder.layer) == 2
    last = published.layer(11)["attention.self.query.weight"]
    assert np.array_equal(model.encoder.layer[1].attention.self.query.weight.detach().numpy(), last)
    codes, scales = published.word_vectors()
    row = model.embeddings.word_embeddings.weight[1000].detach().numpy()
    assert row[0] == (int(codes[1000, 0] & 15) - 8) * np.float32(scales[1000, 0])
    assert row[16] == (int(codes[1000, 0] >> 4) - 8) * np.float32(scales[1000, 0])
