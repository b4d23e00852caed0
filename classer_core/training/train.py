"""Contrastive training for label names and for examples at once.

A step draws tasks. In each, texts should be nearer to their own label's words than to those of the task's other labels
(what a job with label names needs), and nearer to the mean of their label's other texts than to other means (what a
job with examples needs).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from classer_core.training.tasks import Task

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

# The first three are what the model is asked with; the others teach that the form does not matter.
ASKED = ["{label}", "This {text} is about {label}.", "This {text} is {label}."]
OTHER = ["{label} {text}", "The category of this {text} is {label}.", "{text}: {label}", "It is {label}."]
DESCRIBED = ["{description}", "{label}: {description}"]

TEXTS_A_PASS = 44
REPORT_STEPS = 50
CHECKPOINT_STEPS = 250

State = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Settings:
    """The settings that decide the weights, beside the data."""

    steps: int = 2_200
    seed: int = 20261125
    learning_rate: float = 1e-4
    warm_up_steps: int = 100
    tasks_a_step: int = 2
    texts_a_task: int = 24
    labels_a_task: int = 20
    scale: float = 25.0
    label_smoothing: float = 0.05
    # Weight of the loss of examples beside that of label names.
    prototypes: float = 0.5
    short_tokens: int = 64
    long_tokens: int = 160
    # Share of the steps that read up to `long_tokens` of a text.
    long_share: float = 0.15
    # Steps over which the weights that are kept are averaged (exponentially).
    averaged_steps: int = 150
    # The first layers stay as published: what they know of words in a hundred languages is not to be forgotten.
    frozen_layers: int = 3
    # Share of the published weights in those that are kept. On kept-out tasks trained weights alone get worse from step
    # 500 on, in English by two points; a mean of both gets what the pools teach and keeps what they don't.
    # Source: robust fine-tuning by averaging weights, arXiv 2109.01903.
    published_share: float = 0.4


class Episode(NamedTuple):
    """Texts, the position of each one's label among `labels`, and the labels' words."""

    texts: list[str]
    targets: list[int]
    labels: list[str]


class Neighbours:
    """Labels of each task that are easily confused: near to each other before training."""

    def __init__(self, tasks: Sequence[Task], embed: Callable[[Sequence[str]], np.ndarray]) -> None:
        vectors = embed([names[0] for task in tasks for names in task.names])
        starts = np.cumsum([0, *(len(task.names) for task in tasks)])
        self._vectors = {
            task.name: vectors[start:end] for task, start, end in zip(tasks, starts, starts[1:], strict=False)
        }

    def draw(self, rng: random.Random, task: Task, n_labels: int) -> list[int]:
        """Return a label drawn at random and those nearest to it, `n_labels` in all, in random order."""
        vectors = self._vectors[task.name]
        nearest = np.argsort(-(vectors @ vectors[rng.randrange(len(vectors))]), kind="stable")[:n_labels]
        chosen = [int(position) for position in nearest]
        rng.shuffle(chosen)
        return chosen


def train(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    tasks: Sequence[Task],
    settings: Settings,
    checkpoint: Callable[[int, State], None] = lambda step, state: None,
) -> State:
    """Return the weights of the model's layers, averaged over steps and with the published ones, by name.

    The first layers and the word vectors are not trained.

    Args:
        checkpoint: called with the step and the weights so far, every `CHECKPOINT_STEPS` steps.
    """
    import torch

    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    trained = {
        name: weight
        for name, weight in model.named_parameters()
        if name.startswith("encoder.layer.") and int(name.split(".")[2]) >= settings.frozen_layers
    }
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in trained)
    published = {name: weight.detach().clone() for name, weight in trained.items()}
    average = {name: weight.detach().clone() for name, weight in trained.items()}
    with torch.inference_mode():
        neighbours = Neighbours(tasks, lambda words: _embed_many(model, tokenizer, words))
    optimizer = torch.optim.AdamW(
        [
            {"params": [weight for weight in trained.values() if weight.ndim > 1], "weight_decay": 0.01},
            {"params": [weight for weight in trained.values() if weight.ndim == 1], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _schedule(step, settings))
    started, running = time.monotonic(), 0.0
    for step in range(1, settings.steps + 1):
        drawn = rng.choices(tasks, [task.weight for task in tasks], k=settings.tasks_a_step)
        n_tokens = settings.long_tokens if rng.random() < settings.long_share else settings.short_tokens
        loss = _loss(
            model, tokenizer, [_episode(rng, task, neighbours, settings) for task in drawn], n_tokens, settings
        )
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
        if step % CHECKPOINT_STEPS == 0:
            checkpoint(step, _mixed(average, published, settings.published_share))
    return _mixed(average, published, settings.published_share)


def _mixed(trained: State, published: State, published_share: float) -> State:
    return {name: weight.lerp(published[name], published_share) for name, weight in trained.items()}


def _loss(
    model: torch.nn.Module, tokenizer: Tokenizer, episodes: Sequence[Episode], n_tokens: int, settings: Settings
) -> torch.Tensor:
    """Mean over the episodes of both cross-entropies, each 1 where all labels seem alike."""
    import torch

    with torch.autocast("cpu", torch.bfloat16):
        everything = [text for episode in episodes for text in [*episode.texts, *episode.labels]]
        rows = embed(model, tokenizer, everything, n_tokens)
    losses = []
    for episode in episodes:
        n_texts, n_labels = len(episode.texts), len(episode.labels)
        texts, labels, rows = rows.tensor_split([n_texts, n_texts + n_labels])
        targets = torch.tensor(episode.targets)
        names = torch.nn.functional.cross_entropy(
            texts @ labels.T * settings.scale, targets, label_smoothing=settings.label_smoothing
        )
        losses.append(names / math.log(n_labels))
        losses[-1] = losses[-1] + settings.prototypes * _prototype_loss(texts, targets, settings)
    return torch.stack(losses).mean() / (1 + settings.prototypes)


def _prototype_loss(texts: torch.Tensor, targets: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Return the loss of telling each text's label by the means of the other texts of each label.

    Args:
        texts: (n_texts, n_dimensions) unit vectors; at least two texts of each label that occurs.
    """
    import torch

    _, compact = torch.unique(targets, return_inverse=True)
    one_hot = torch.nn.functional.one_hot(compact).to(texts.dtype)
    sums = one_hot.T @ texts
    # A text is left out of its own label's mean.
    prototypes = sums[None] - one_hot[:, :, None] * texts[:, None]
    prototypes = torch.nn.functional.normalize(prototypes, dim=-1)
    scores = torch.einsum("td,tld->tl", texts, prototypes) * settings.scale
    loss = torch.nn.functional.cross_entropy(scores, compact, label_smoothing=settings.label_smoothing)
    return loss / math.log(one_hot.shape[1])


def _schedule(step: int, settings: Settings) -> float:
    if step < settings.warm_up_steps:
        return (step + 1) / settings.warm_up_steps
    done = (step - settings.warm_up_steps) / max(1, settings.steps - settings.warm_up_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def _episode(rng: random.Random, task: Task, neighbours: Neighbours, settings: Settings) -> Episode:
    """Draw some of a task's labels, alike ones half of the time, and at least two texts of some of them."""
    n_labels = min(len(task.names), settings.labels_a_task)
    if rng.random() < 0.4:
        n_labels = rng.randint(2, n_labels)
    chosen = (
        neighbours.draw(rng, task, n_labels) if rng.random() < 0.5 else rng.sample(range(len(task.names)), n_labels)
    )
    n_shown = rng.randint(2, min(n_labels, settings.texts_a_task // 2))
    targets = [position % n_shown for position in range(settings.texts_a_task)]
    texts = []
    for position in range(n_shown):
        own = task.texts[chosen[position]]
        n_texts = targets.count(position)
        texts += rng.sample(own, n_texts) if len(own) >= n_texts else rng.choices(own, k=n_texts)
    return Episode(texts, sorted(targets), _label_words(rng, task, chosen))


def _label_words(rng: random.Random, task: Task, chosen: Sequence[int]) -> list[str]:
    """Word all labels of an episode in one form: what tells them apart is their meaning."""
    text_type = rng.choice(task.text_types) if task.text_types and rng.random() < 0.6 else "text"
    described = all(task.descriptions[n] for n in chosen) and rng.random() < 0.4
    form = rng.choice(DESCRIBED if described else ASKED if rng.random() < 0.8 else OTHER)
    words = []
    for n in chosen:
        description = rng.choice(task.descriptions[n]) if task.descriptions[n] else ""
        words.append(form.format(label=rng.choice(task.names[n]), text=text_type, description=description))
    return words


def _embed_many(model: torch.nn.Module, tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    import torch

    with torch.autocast("cpu", torch.bfloat16):
        return embed(model, tokenizer, texts, 32).numpy()


def embed(model: torch.nn.Module, tokenizer: Tokenizer, texts: Sequence[str], n_tokens: int) -> torch.Tensor:
    """Return unit vectors (n_texts, n_dimensions) float32 of the texts' first `n_tokens` tokens."""
    import torch

    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
    ids = [row if len(row) <= n_tokens else [*row[: n_tokens - 1], row[-1]] for row in ids]
    order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
    rows = []
    for start in range(0, len(order), TEXTS_A_PASS):
        batch = [ids[n] for n in order[start : start + TEXTS_A_PASS]]
        width = max(map(len, batch))
        padded = torch.tensor([row + [1] * (width - len(row)) for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch])
        hidden = model(input_ids=padded, attention_mask=mask).last_hidden_state.float()
        weights = mask.unsqueeze(-1).float()
        rows.append((hidden * weights).sum(1) / weights.sum(1))
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.nn.functional.normalize(torch.cat(rows), dim=-1)[back]
