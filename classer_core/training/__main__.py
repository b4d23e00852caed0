"""Make the weights of `model: embedded`.

    python -m classer_core.training CORPUS OUT.safetensors

CORPUS is the folder with the pools (`train_pool*/*.jsonl`) and the test sets (`text/<set>/test.jsonl`), whose texts are
never trained on. `python -m tests.benchmarks.quality` measures the outcome.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from classer_core.models import embedded
from classer_core.models.e5_tokenizer import tokenizer
from classer_core.training.compress import save_int8
from classer_core.training.network import bert
from classer_core.training.tasks import Recipe, training_tasks
from classer_core.training.train import Settings, State, train


def main() -> None:
    """Train with the settings of `Settings` and write the layers; a checkpoint lies beside them meanwhile."""
    parser = argparse.ArgumentParser(
        prog="python -m classer_core.training", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=Settings.steps, help="fewer for a trial")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    tasks = training_tasks(arguments.corpus, Recipe.load())
    n_texts = sum(len(texts) for task in tasks for texts in task.texts)
    print(f"{len(tasks):,} tasks, {n_texts:,} texts, {sum(len(task.names) for task in tasks):,} labels")

    def keep(step: int, weights: State) -> None:
        save_int8(weights, arguments.out.with_suffix(f".{step}.safetensors"))

    published = embedded.open_published()
    model = bert(published, range(published.header.n_layers))
    weights = train(model, tokenizer(published), tasks, Settings(steps=arguments.steps), keep)
    save_int8(weights, arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes, sha256 {embedded.sha256(arguments.out)}")


main()
