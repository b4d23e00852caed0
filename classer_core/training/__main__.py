"""Makes the weights that `model: embedded` adds to all-MiniLM-L6-v2, and measures them.

    python -m classer_core.training train CORPUS OUT.safetensors     (half an hour on two cores)
    python -m classer_core.training evaluate CORPUS [MODEL ...]

CORPUS is the folder with `train_pool/*.jsonl` and `text/<set>/{test.jsonl,labels.json}`; a MODEL is what a job may name
(default: the published weights and ours).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from classer_core.models import EMBEDDED
from classer_core.models.embedded import published_folder, sha256
from classer_core.models.embedding import EmbeddingModel
from classer_core.models.general import quiet_loading
from classer_core.training.compress import save_changes
from classer_core.training.evaluate import OTHER_LANGUAGES, SEEN, UNSEEN, evaluate
from classer_core.training.sets import training_sets
from classer_core.training.train import Settings, train


def train_and_save(corpus: Path, out: Path, steps: int) -> None:
    """The whole recipe: sets, training, the part of the change that is kept, written to `out`."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    sets, dropped = training_sets(corpus)
    for one in sets:
        n_texts = sum(map(len, one.texts))
        print(f"{one.name}: {n_texts:,} texts, {len(one.names)} labels; {dropped[one.name]} that a test has left out")
    torch.set_num_threads(2)
    with quiet_loading():
        # Without dropout plain attention is twice as fast as the fused one on a CPU, counted with its gradients.
        model = AutoModel.from_pretrained(published_folder(), attn_implementation="eager", dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(published_folder())
    published = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    settings = Settings(steps=steps)
    save_changes(published, train(model, tokenizer, sets, settings), settings.share_kept, out)
    print(f"{out}: {out.stat().st_size:,} bytes, sha256 {sha256(out)}")


def print_scores(corpus: Path, models: list[str]) -> None:
    """A Markdown table: macro-F1 x100 of each model on each set, label names alone."""
    loaded = [EmbeddingModel.load(model) for model in models]
    print("| set |", " | ".join(model.id for model in loaded), "|\n|---|" + "---|" * len(loaded))
    for title, sets in {"unseen": UNSEEN, "seen": SEEN, "other languages": OTHER_LANGUAGES}.items():
        scores = []
        for name in sets:
            scores.append([evaluate(model, corpus / "text" / name) for model in loaded])
            print(f"| {name} |", " | ".join(f"{score:.1f}" for score in scores[-1]), "|", flush=True)
        print(f"| **mean, {title}** |", " | ".join(f"**{mean:.1f}**" for mean in np.mean(scores, axis=0)), "|")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m classer_core.training", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="make the weights")
    training.add_argument("corpus", type=Path)
    training.add_argument("out", type=Path)
    training.add_argument("--steps", type=int, default=Settings.steps, help="fewer for a trial")
    evaluating = commands.add_parser("evaluate", help="measure models with label names alone")
    evaluating.add_argument("corpus", type=Path)
    evaluating.add_argument("models", nargs="*", metavar="MODEL")
    arguments = parser.parse_args()
    if arguments.command == "train":
        train_and_save(arguments.corpus, arguments.out, arguments.steps)
    else:
        print_scores(arguments.corpus, arguments.models or [str(published_folder()), EMBEDDED])


main()
