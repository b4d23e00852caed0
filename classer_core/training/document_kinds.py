"""Train the weights of `models/document_kinds.py`.

    python -m classer_core.training.document_kinds CORPUS OUT.npz

CORPUS is the folder with `train_docs/manifest.jsonl`: real documents by kind. `document_kinds.yaml` beside this file
has the names of the kinds. The documents are read as the engine reads them, the first pages of scans by OCR.
`python -m tests.benchmarks.documents accuracy` measures the outcome on other documents.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from classer_core.classifiers import Classifier
from classer_core.contents import Attachment, Content
from classer_core.documents.expander import Expander
from classer_core.models import EMBEDDED
from classer_core.models.document_kinds import Floats, best_of_kind, centred, document_vectors, features_of
from classer_core.models.loading import load_model, load_visual_model
from classer_core.models.sentence_embedding import EmbeddingModel
from classer_core.models.visual import VisualModel
from classer_core.records import Record

NAMES_FILE = Path(__file__).parent / "document_kinds.yaml"
DOCUMENTS_AT_ONCE = 16
OCR_PAGES = 2
PLACEHOLDERS = "placeholder_text"
N_PLACEHOLDERS = 24
SEED = 20261127
LABEL_SMOOTHING = 0.05
WEIGHT_DECAY = 1.5
STEPS = 60
# So much is added to the deviation of a feature of the form, some of which are the same in nearly all documents.
LEAST_DEVIATION = 0.02


@dataclass(frozen=True)
class KnownDocument:
    """The text of a document's pages, its kind, and where it comes from."""

    pages: list[str]
    kind: str
    source: str


def read_documents(corpus: Path, visual: VisualModel) -> Iterator[KnownDocument]:
    """Yield the documents of `train_docs` that contain text."""
    folder = corpus / "train_docs"
    rows: list[dict[str, Any]] = [json.loads(line) for line in (folder / "manifest.jsonl").open(encoding="utf-8")]
    expander, classifier = Expander(visual.pixel_needs, truncate=True), Classifier(("a", "b"))
    for start in range(0, len(rows), DOCUMENTS_AT_ONCE):
        part = rows[start : start + DOCUMENTS_AT_ONCE]
        files = [Attachment("file", 1, row["file"], (folder / row["file"]).read_bytes()) for row in part]
        records = [Record(file.source, "", classifier, attachments=(file,)) for file in files]  # type: ignore[arg-type]
        for row, content in zip(part, expander.expand(records), strict=True):
            pages = _texts(content, visual) if isinstance(content, Content) else []
            if any(page.strip() for page in pages):
                yield KnownDocument(pages, row["kind"], row["repo"])
        print(f"{start + len(part):,} of {len(rows):,} documents", flush=True)
    expander.close()


def _texts(content: Content, visual: VisualModel) -> list[str]:
    texts = []
    for number, page in enumerate(content.pages):
        read = visual.read([page.pixels])[0] if page.pixels is not None and number < OCR_PAGES else ""
        texts.append(f"{page.text}\n{read}".strip())
    return texts


def placeholders(words: Sequence[str], sentences: Sequence[str]) -> Iterator[KnownDocument]:
    """Yield documents of meaningless text, as people fill layouts with."""
    rng = random.Random(SEED)
    for number in range(N_PLACEHOLDERS):
        paragraphs = []
        for _ in range(rng.randint(1, 8)):
            if rng.random() < 0.6:
                paragraphs.append(" ".join(rng.choices(words, k=rng.randint(8, 90))).capitalize() + ".")
            else:
                paragraphs.append("\n".join(rng.choices(sentences, k=rng.randint(1, 4))))
        yield KnownDocument(["\n".join(paragraphs)], PLACEHOLDERS, f"made {number % 6}")


def train(model: EmbeddingModel, documents: Sequence[KnownDocument], names: dict[str, list[str]]) -> dict[str, Any]:
    """Return the arrays of the .npz file.

    A logistic regression over the features; how near a text is to the names of a kind is a feature of that kind, with
    one factor for all kinds, so that kinds with few documents are found by their names.
    """
    kinds = sorted(names)
    owners = np.array([number for number, kind in enumerate(kinds) for _ in names[kind]])
    words = [name for kind in kinds for name in names[kind]]
    vectors = np.concatenate([model.label_vectors(Classifier((word,))) for word in words])
    heads, bodies, shapes = document_vectors(model, [document.pages for document in documents])
    mean, deviation = shapes.mean(axis=0), shapes.std(axis=0) + LEAST_DEVIATION
    features = features_of(heads, bodies, shapes, mean, deviation)
    named = np.stack(
        [
            np.stack([centred(best_of_kind(vectors @ text, owners, len(kinds))) for text in (head, body)], axis=-1)
            for head, body in zip(heads, bodies, strict=True)
        ]
    )
    targets = np.array([kinds.index(document.kind) for document in documents])
    weights, bias, factors = _fit(features, named, targets, _balance(documents), len(kinds))
    return {
        "text_model": np.array(model.weights_id),
        "kinds": np.array(kinds),
        "weights": weights.astype(np.float16),
        "bias": bias,
        "name_factors": factors,
        "names": vectors.astype(np.float16),
        "owners": owners,
        "shape_mean": mean,
        "shape_deviation": deviation,
    }


def _balance(documents: Sequence[KnownDocument]) -> Floats:
    """Return the weight of each document: kinds and sources with many documents don't drown the others."""
    of_kind = Counter(document.kind for document in documents)
    of_source = Counter((document.kind, document.source) for document in documents)
    weights = [(of_kind[document.kind] * of_source[document.kind, document.source]) ** -0.5 for document in documents]
    return np.asarray(weights / np.mean(weights), np.float32)


def _fit(
    features: Floats, named: Floats, targets: np.ndarray[Any, Any], balance: Floats, n_kinds: int
) -> tuple[Floats, Floats, Floats]:
    import torch

    torch.manual_seed(SEED)
    inputs, similar, gold, balanced = map(torch.from_numpy, (features, named, targets, balance))
    weights = torch.zeros(n_kinds, features.shape[1], requires_grad=True)
    bias, factors = torch.zeros(n_kinds, requires_grad=True), torch.tensor([5.0, 5.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias, factors], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = inputs @ weights.T + bias + similar @ factors
        each = torch.nn.functional.cross_entropy(logits, gold, reduction="none", label_smoothing=LABEL_SMOOTHING)
        decay = WEIGHT_DECAY / len(gold) * (weights.square().sum() + 0.1 * bias.square().sum())
        total = (each * balanced).mean() + decay
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy(), bias.detach().numpy(), factors.detach().numpy()


def main() -> None:
    """Read the documents, train, and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m classer_core.training.document_kinds", description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    model = load_model(EMBEDDED)
    visual = load_visual_model(EMBEDDED, model)
    assert isinstance(model, EmbeddingModel) and visual is not None
    settings = yaml.safe_load(NAMES_FILE.read_text(encoding="utf-8"))
    made = placeholders(settings["placeholder_words"].split(), settings["placeholder_sentences"])
    documents = [*read_documents(arguments.corpus, visual), *made]
    np.savez_compressed(arguments.out, **train(model, documents, settings["names"]))
    print(f"{arguments.out}: {len(documents):,} documents, {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
