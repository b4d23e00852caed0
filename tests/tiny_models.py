"""Models of a few thousand weights, trained in seconds and saved in the hub's own format.

The task: a text is of one of four topics if it has words of it, among words that say nothing. Right answers show that
inputs and outputs are put together as in training.
"""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import classer_core

# Layers as small as these are slower on two threads, and much slower on a busy machine.
load_model = partial(classer_core.load_model, threads=1)

TOPICS = {
    "fruit": ["apple", "pear", "plum", "cherry", "grape"],
    "metal": ["iron", "copper", "zinc", "silver", "tin"],
    "weather": ["rain", "snow", "wind", "storm", "fog"],
    "music": ["violin", "flute", "drum", "choir", "song"],
}
FILLER = ["the", "of", "and", "some", "old", "new", "was", "there", "with", "we", "saw", "many"]
PUNCTUATION = [".", ",", ":", '"', "<", ">", "|", "/", "?"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
OTHERS = ["This", "text", "is", "about", "yes", "no", "user", "system", "assistant", "think", "Query", "Document", "a"]
OTHERS += ["belongs", "to", "category"]
WORDS = [*SPECIAL, *PUNCTUATION, *FILLER, *OTHERS, *TOPICS, *(word for words in TOPICS.values() for word in words)]
SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 192,
    "pad_token_id": 0,
}
NLI_LABELS = ["contradiction", "entailment", "neutral"]


def text_of(topic: str, rng: random.Random, n_words: int = 8) -> str:
    """A text of this topic: two of its words among fillers."""
    words = rng.choices(FILLER, k=n_words) + rng.sample(TOPICS[topic], 2)
    rng.shuffle(words)
    return " ".join(words)


def texts(count: int, seed: int = 2, n_words: int = 8) -> list[tuple[str, str]]:
    """(text, topic), not those of the training."""
    rng = random.Random(seed)
    return [(text_of(topic, rng, n_words), topic) for topic in (rng.choice(list(TOPICS)) for _ in range(count))]


def tokenizer(causal: bool = False) -> PreTrainedTokenizerFast:
    """One token a word; pairs as BERT writes them, or, for language models, a first token alone."""
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    special = [("[CLS]", 2), ("[SEP]", 3)]
    single, pair = ("[CLS] $A", "[CLS] $A $B") if causal else ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    backend.post_processor = processors.TemplateProcessing(single, pair, special_tokens=special)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    inputs = ["input_ids", "attention_mask"] if causal else ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=192, model_input_names=inputs, **names)


def knowing(model: Any) -> Any:
    """The model with word vectors that are similar for a topic and its words, as pretrained ones are."""
    torch.manual_seed(3)
    weights = model.get_input_embeddings().weight
    with torch.no_grad():
        weights.normal_(0, 0.3)
        for topic, words in TOPICS.items():
            direction = torch.randn(weights.shape[1])
            for word in (topic, *words):
                weights[WORDS.index(word)] = direction + 0.1 * torch.randn(weights.shape[1])
    return model


def train(
    model: Any,
    scores: Callable[[Any, list[str]], Any],
    steps: int = 200,
    size: int = 16,
    sentences: tuple[int, ...] = (1,),
) -> Any:
    """Fits a model to choose the topics of texts.

    Args:
        model: to be fitted.
        scores: returns the scores (n_texts, n_topics) that a model gives to texts.
        steps: batches.
        size: texts of a batch.
        sentences: how many sentences a text may have; one of them in each batch.
    """
    torch.manual_seed(1)
    torch.set_num_threads(1)
    rng = random.Random(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        topics = [rng.choice(list(TOPICS)) for _ in range(size)]
        count = rng.choice(sentences) if len(sentences) > 1 else sentences[0]
        logits = scores(model, [" ".join(text_of(topic, rng) for _ in range(count)) for topic in topics])
        targets = torch.tensor([list(TOPICS).index(topic) for topic in topics])
        each = torch.nn.functional.one_hot(targets, len(TOPICS)).float()
        loss = torch.nn.functional.cross_entropy(logits, targets)
        loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(logits, each)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def pair_scores(
    encode: PreTrainedTokenizerFast, pair: Callable[[str, str], tuple[str, str]], read: Callable[[Any], Any]
) -> Callable[[Any, list[str]], Any]:
    """Scores of pairs: `pair` of a text and a topic, `read` the outputs (n_pairs, ...)."""

    def score(model: Any, own: list[str]) -> Any:
        pairs = [pair(text, topic) for text in own for topic in TOPICS]
        firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]
        rows = encode(firsts, seconds, padding=True, return_tensors="pt")
        return read(model(**rows).logits).view(len(own), len(TOPICS))

    return score


def save(model: Any, encode: PreTrainedTokenizerFast, folder: Path) -> str:
    """The folder, as a user gives it."""
    model.save_pretrained(folder)
    encode.save_pretrained(folder)
    return str(folder)


def named(labels: list[str]) -> dict[str, Any]:
    """The names of outputs, as config.json holds them."""
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }
