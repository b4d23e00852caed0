"""How the embedded weights are made: what is trained on, that training learns, and how its outcome is kept."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerBase

from classer_core.models import embedded
from classer_core.training import compress, evaluate, sets
from classer_core.training import train as train_module
from classer_core.training.sets import TrainingSet, training_sets
from classer_core.training.train import Settings, train

TICKETS = Path(__file__).parents[1] / "data" / "support_tickets_30.yaml"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A pool with one text for each label that the recipe names, and a test set with one of these texts."""
    (tmp_path / "train_pool").mkdir()
    recipe = yaml.safe_load((sets.HERE / "recipe.yaml").read_text())
    pool: dict[str, set[str]] = {}
    for name, options in recipe.items():
        source = options.get("source", name)
        if not list((sets.HERE / "sets").glob(f"{source}.*")):
            merged = [label for labels in options.get("merge", {}).values() for label in labels]
            pool.setdefault(source, set()).update(merged or [*options.get("also", {}), "one", "other"])
    for source, labels in pool.items():
        rows = [
            json.dumps({"text": f"{what} of  {label}", "label": label})
            for label in sorted(labels)
            for what in ("Text", "Copy")
        ]
        (tmp_path / "train_pool" / f"{source}.jsonl").write_text("\n".join(rows))
    (tmp_path / "text" / "some_test").mkdir(parents=True)
    (tmp_path / "text" / "some_test" / "test.jsonl").write_text('{"text": "text OF\\u2028hate speech", "label": "x"}\n')
    return tmp_path


def test_what_a_test_holds_is_not_trained_on(corpus: Path) -> None:
    training, dropped = training_sets(corpus)
    assert {name: n for name, n in dropped.items() if n} == {"hate_offensive_tweets": 1, "offensive_or_not": 1}
    texts = {" ".join(text.casefold().split()) for one in training for mates in one.texts for text in mates}
    assert "text of hate speech" not in texts
    assert len(texts) > 5_000  # the sets beside the code are there
    tickets = [text for mates in yaml.safe_load(TICKETS.read_text()).values() for text in mates]
    assert not {text.casefold() for text in tickets} & texts


def test_a_recipe_that_names_no_label_is_refused() -> None:
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    with pytest.raises(ValueError, match=r"recipe.yaml: some set has no labels \['z'\], only \['x', 'y'\]"):
        sets._training_set("some set", {"also": {"z": ["zed"]}}, rows)
    made = sets._training_set("some set", {"also": {"x": ["ex"]}, "descriptions": {"y": ["why"]}}, rows)
    assert (made.texts, made.names, made.descriptions) == ([["a"], ["b"]], [["x", "ex"], ["y"]], [[], ["why"]])


def test_training_learns_and_repeats(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "REPORT_STEPS", 5)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(embedded.published_folder())
    training = [TrainingSet("pets", [["the dog barks"], ["a cat purrs"]], [["dog"], ["cat"]], [[], ["it says meow"]])]

    def run() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        torch.manual_seed(3)
        sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
        model = BertModel(BertConfig(vocab_size=len(tokenizer), **sizes), add_pooling_layer=False)
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        settings = Settings(steps=15, texts_a_set=4, learning_rate=5e-3, averaged_steps=5)
        trained = train(model, tokenizer, training, settings)
        words = model.embeddings.word_embeddings.weight
        assert torch.equal(words, before["embeddings.word_embeddings.weight"])
        return before, trained

    (before, once), (_, twice) = run(), run()
    assert once.keys() == {name for name in before if name.startswith("encoder.layer")}
    assert all(torch.equal(once[name], twice[name]) for name in once)
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 6 and losses[2] < losses[0] / 2


def test_changes_are_kept_in_four_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    published = torch.nn.Linear(384, 256)
    with torch.no_grad():
        trained = {name: weight + 0.01 * torch.randn_like(weight) for name, weight in published.named_parameters()}
        trained["weight"][7] = published.weight[7]  # a row that nothing happened to
    path = tmp_path / "new folder" / "changes.safetensors"
    compress.save_changes(dict(published.named_parameters()), trained, 0.5, path)
    assert path.stat().st_size < 0.6 * 384 * 256
    wanted = {name: published.get_parameter(name).detach().lerp(weight, 0.5) for name, weight in trained.items()}
    before = published.weight.detach().clone()
    monkeypatch.setattr(embedded, "TRAINED", path)
    monkeypatch.setattr(embedded, "TRAINED_SHA256", embedded.sha256(path))
    embedded.add_training(dict(published.named_parameters()))
    lost = (published.weight - wanted["weight"]).square().sum() / (before - wanted["weight"]).square().sum()
    assert lost < 0.02
    assert torch.equal(published.weight[7], before[7])
    assert torch.allclose(published.bias, wanted["bias"], atol=1e-5)


def test_macro_f1() -> None:
    gold, predicted = torch.tensor([0, 0, 1, 2]).numpy(), torch.tensor([0, 1, 1, 1]).numpy()
    assert evaluate.macro_f1(gold, predicted) == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
