"""Contrastive training: a text should be nearer to its label's text than to those of the other labels."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from classer_core.training.sets import TrainingSet

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

PLAIN = ["{label}", "This {text} is about {label}.", "This {text} is {label}."]
OTHER = ["{label} {text}", "The category of this {text} is {label}.", "{text}: {label}", "It is {label}."]
DESCRIBED = ["{description}", "{label}: {description}"]


TEXTS_A_PASS = 36
REPORT_STEPS = 50


@dataclass(frozen=True)
class Settings:
    """What decides the weights, beside the data."""

    steps: int = 1_500
    seed: int = 20261124
    learning_rate: float = 4e-5
    sets_a_step: int = 2
    texts_a_set: int = 24
    labels_a_set: int = 20
    scale: float = 20.0
    max_tokens: int = 64
    # An exponential moving average over about this many of the last steps is what is kept.
    averaged_steps: int = 300
    # How far to go from the published weights (0) to the trained ones (1).
    share_kept: float = 0.9


class Task(NamedTuple):
    """Texts, the position of each one's label, and what the labels are called."""

    texts: list[str]
    targets: list[int]
    labels: list[str]


def train(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, sets: Sequence[TrainingSet], settings: Settings
) -> dict[str, torch.Tensor]:
    """A BERT in, its averaged weights out by name; only its layers are trained, never what it knows of words."""
    import torch

    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    # No dropout: with so few steps there is nothing to hold back, and it would cost a third of the time.
    model.eval()
    trained = {name: weight for name, weight in model.named_parameters() if "encoder.layer" in name}
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in trained)
    average = {name: weight.detach().clone() for name, weight in trained.items()}
    optimizer = torch.optim.AdamW(
        [
            {"params": [weight for weight in trained.values() if weight.ndim > 1], "weight_decay": 0.01},
            {"params": [weight for weight in trained.values() if weight.ndim == 1], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _schedule(step, settings.steps))
    started, running = time.monotonic(), 0.0
    for step in range(1, settings.steps + 1):
        chosen = rng.choices(sets, [one.weight for one in sets], k=settings.sets_a_step)
        loss = _loss(model, tokenizer, [_task(rng, one, settings) for one in chosen], settings)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for name, weight in trained.items():
                average[name].lerp_(weight, 1 / min(step, settings.averaged_steps))
        running += loss.item()
        if step % REPORT_STEPS == 0:
            print(f"step {step:,}: loss {running / REPORT_STEPS:.3f}, {time.monotonic() - started:,.0f} s", flush=True)
            running = 0.0
    return average


def _loss(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[Task], settings: Settings
) -> torch.Tensor:
    """Mean over the tasks of the cross-entropy of the right label, 1 where all labels seem alike."""
    import torch

    with torch.autocast("cpu", torch.bfloat16):
        rows = _embed(model, tokenizer, [text for task in tasks for text in [*task.texts, *task.labels]], settings)
    losses = []
    for task in tasks:
        texts, labels, rows = rows.tensor_split([len(task.texts), len(task.texts) + len(task.labels)])
        scores = texts @ labels.T * settings.scale
        loss = torch.nn.functional.cross_entropy(scores, torch.tensor(task.targets))
        losses.append(loss / math.log(len(task.labels)))
    return torch.stack(losses).mean()


def _schedule(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _task(rng: random.Random, training_set: TrainingSet, settings: Settings) -> Task:
    """Some of a set's labels, each as likely as the others to be a text's, however many texts it has."""
    n_labels = len(training_set.names)
    most = min(n_labels, settings.labels_a_set)
    chosen = rng.sample(range(n_labels), most if rng.random() < 0.6 else rng.randint(2, most))
    targets = [rng.randrange(len(chosen)) for _ in range(settings.texts_a_set)]
    texts = []
    for target in targets:
        mates = training_set.texts[chosen[target]]
        n_texts = 1 if rng.random() < 0.85 else rng.randint(2, 4)
        texts.append(" ".join(rng.choice(mates) for _ in range(n_texts)))
    return Task(texts, targets, _label_texts(rng, training_set, chosen))


def _label_texts(rng: random.Random, training_set: TrainingSet, chosen: Sequence[int]) -> list[str]:
    """One form for all labels of a task: what tells them apart is their meaning."""
    text_type = rng.choice(training_set.text_types) if rng.random() < 0.5 else "text"
    described = all(training_set.descriptions[n] for n in chosen) and rng.random() < 0.4
    form = rng.choice(DESCRIBED if described else PLAIN if rng.random() < 0.8 else OTHER)
    own_name = rng.random() < 0.5
    texts = []
    for n in chosen:
        names, descriptions = training_set.names[n], training_set.descriptions[n]
        name = names[0] if own_name else rng.choice(names)
        description = rng.choice(descriptions) if descriptions else ""
        texts.append(form.format(label=name, text=text_type, description=description))
    return texts


def _embed(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], settings: Settings
) -> torch.Tensor:
    """Unit vectors (n_texts, n_dimensions) float32; texts of like length run together."""
    import torch

    ids = tokenizer(list(texts), truncation=True, max_length=settings.max_tokens)["input_ids"]
    order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
    rows = []
    for start in range(0, len(order), TEXTS_A_PASS):
        batch = [ids[n] for n in order[start : start + TEXTS_A_PASS]]
        width = max(map(len, batch))
        width += -width % 8
        padded = torch.tensor([row + [0] * (width - len(row)) for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch])
        hidden = model(input_ids=padded, attention_mask=mask).last_hidden_state.float()
        weights = mask.unsqueeze(-1).float()
        rows.append((hidden * weights).sum(1) / weights.sum(1))
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.nn.functional.normalize(torch.cat(rows), dim=-1)[back]
