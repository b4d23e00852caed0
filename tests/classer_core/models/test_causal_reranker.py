"""reranker: with a causal language model that answers yes or no, trained here on the prompt of Qwen3-Reranker."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from classer_core import Classifier
from classer_core.models.causal_reranker import DOCUMENT, END, HEAD
from tests import tiny_models as tiny
from tests.classer_core.models.test_cross_encoders import share_right

TOPICS = Classifier.of(list(tiny.TOPICS))

pytestmark = pytest.mark.integration  # its training takes ten seconds


def causal_scores(encode: Any) -> Any:
    """The prompt is that of the model card; its yes and no are the last position's."""
    yes, no = encode.convert_tokens_to_ids(["yes", "no"])

    def score(model: Any, own: list[str]) -> Any:
        prompts = [f"{HEAD}{text}{DOCUMENT} {topic}{END}" for text in own for topic in tiny.TOPICS]
        logits = model(**encode(prompts, padding=True, padding_side="left", return_tensors="pt")).logits[:, -1]
        return (logits[:, yes] - logits[:, no]).view(len(own), -1)

    return score


@pytest.fixture(scope="module")
def causal_reranker(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    encode = tiny.tokenizer(causal=True)
    config = Qwen3Config(**tiny.SIZES, num_key_value_heads=1, head_dim=24, tie_word_embeddings=False)
    model = tiny.train(tiny.knowing(Qwen3ForCausalLM(config)), causal_scores(encode), size=8)
    return tiny.save(model, encode, tmp_path_factory.mktemp("causal-reranker"))


def test_causal_reranker(causal_reranker: str) -> None:
    model = tiny.load_model(f"reranker:{causal_reranker}")
    assert share_right(model, tiny.texts(100)) >= 0.9
    described = Classifier.of(["fruit", "music"], descriptions={"fruit": "apple and pear"}, text_type="text")
    assert share_right(model, [row for row in tiny.texts(200) if row[1] in described.labels], described) >= 0.7


def test_a_causal_reranker_reads_a_text_once_and_means_the_whole_prompt(causal_reranker: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    encode: Any = AutoTokenizer.from_pretrained(causal_reranker)
    network = AutoModelForCausalLM.from_pretrained(causal_reranker, dtype=torch.float32)
    rows = [*tiny.texts(4), *tiny.texts(3, n_words=30)]
    with torch.inference_mode():
        own = causal_scores(encode)(network, [text for text, _ in rows]).numpy()
    order = [list(tiny.TOPICS).index(label) for label in TOPICS.labels]
    scores = tiny.load_model(f"reranker:{causal_reranker}").score([(text,) for text, _ in rows], [TOPICS] * len(rows))
    assert np.allclose([one.values for one in scores], own[:, order], atol=0.3, rtol=0.05)  # half precision
