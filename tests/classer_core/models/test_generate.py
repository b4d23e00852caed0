"""generate: likelihoods are those of full forward passes; a small trained model and Gemma 3 270M give right labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from classer_core import Classifier, ModelLoadError, ModelSpec, hardware
from classer_core.models.continuations import Continuations
from classer_core.models.networks import Network
from tests import real_models
from tests import tiny_models as tiny
from tests.classer_core.models.test_cross_encoders import make_finetuned, share_right

DATA = Path(__file__).parents[2] / "data"
TOPICS = Classifier.of(list(tiny.TOPICS))
SIZES = {**tiny.SIZES, "num_key_value_heads": 1, "head_dim": 24}
FAMILIES: dict[str, Any] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "qwen": (Qwen3ForCausalLM, Qwen3Config, {}),
    # Its window is shorter than the texts of the test.
    "gemma": (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]},
    ),
}


def make(family: str, folder: Path, steps: int) -> str:
    torch.manual_seed(1)
    encode = tiny.tokenizer(causal=True)
    network, config, settings = FAMILIES[family]
    model = tiny.knowing(network(config(**SIZES, **settings)))
    topics = encode.convert_tokens_to_ids(list(tiny.TOPICS))

    def scores(model: Any, own: list[str]) -> Any:
        prompts = [f'"{text}"\nCategory of this text:' for text in own]
        return model(**encode(prompts, padding=True, padding_side="left", return_tensors="pt")).logits[:, -1][:, topics]

    if steps:
        tiny.train(model, scores, steps)
    return tiny.save(model, encode, folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make("llama", tmp_path_factory.mktemp("llama"), steps=60)


def test_the_most_likely_label_is_right(trained: str) -> None:
    model = tiny.load_model(f"generate:{trained}")
    assert share_right(model, tiny.texts(100)) >= 0.9
    described = Classifier.of(list(tiny.TOPICS), descriptions={"metal": "iron"})
    assert model.id.startswith(f"generate:{trained}@")
    scores = model.score([("some iron",), ("some iron",)], [TOPICS, described])
    assert scores[1].tokens > scores[0].tokens


def test_a_bare_id_of_a_language_model(trained: str) -> None:
    assert tiny.load_model(trained).id == tiny.load_model(f"generate:{trained}").id


def test_a_prompt_of_the_jobs_own(trained: str) -> None:
    other = tiny.load_model(ModelSpec(id=f"generate:{trained}", prompt="This {text_type} is about"))
    assert other.id != tiny.load_model(f"generate:{trained}").id
    assert not np.allclose(other.score([("we saw",)], [TOPICS])[0].values, 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_are_those_of_whole_forward_passes(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads and texts are read once, of any length, beside any others; labels have one token or several."""
    monkeypatch.setattr(hardware, "best_dtype", lambda device: torch.float32)
    spec = ModelSpec(id=make(family, tmp_path, steps=0))
    network = Network.load(spec, "generate", "AutoModelForCausalLM", threads=1)
    rng = np.random.default_rng(1)
    texts = [rng.integers(4, len(tiny.WORDS), length).astype(np.int32) for length in (1, 30, 7, 18, 2)]
    tails = [rng.integers(4, len(tiny.WORDS), length).astype(np.int32) for length in (1, 4, 2, 1, 3, 4)]
    head = np.array([2, 7, 8], np.int32)
    rows = Continuations(network).likelihoods(head, texts, tails)
    for text, row in zip(texts, rows, strict=True):
        for tail, value in zip(tails, row, strict=True):
            ids = torch.from_numpy(np.concatenate([head, text, tail]).astype(np.int64))[None]
            with torch.inference_mode():
                shares = torch.log_softmax(network.model(ids).logits[0], -1)
            before = len(head) + len(text) - 1
            expected = np.mean([float(shares[before + n, token]) for n, token in enumerate(tail)])
            assert abs(value - expected) < 1e-4


def test_long_texts_are_read_whole(trained: str) -> None:
    text = " ".join(tiny.FILLER * 100 + tiny.TOPICS["metal"] * 2)
    [scores] = tiny.load_model(f"generate:{trained}").score([(text,)], [TOPICS])
    assert scores.tokens > len(text.split())


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    folder = make_finetuned(tmp_path, list(tiny.TOPICS))
    with pytest.raises(
        ModelLoadError, match=r"not a model of the kind generate: .*classifier with 4 labels. Write finetuned:"
    ):
        tiny.load_model(f"generate:{folder}")


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> str:
    real_models.install_gemma()
    return real_models.gemma_folder(tmp_path_factory.mktemp("gemma"))


@pytest.mark.integration
def test_gemma_routes_support_tickets(gemma: str) -> None:
    tickets: dict[str, list[str]] = yaml.safe_load((DATA / "support_tickets_30.yaml").read_text())
    rows = [(text, label) for label, texts in tickets.items() for text in texts]
    classifier = Classifier.of(list(tickets), text_type="support ticket")
    prompt = "This {text_type} goes to the department:"
    model = tiny.load_model(ModelSpec(id=f"generate:{gemma}", prompt=prompt))
    assert share_right(model, rows, classifier) >= 0.8
