"""Kind `reranker:ID`: models that score how relevant a text is to a query; a label is the query.

Cross-encoders have one output. Causal ones answer yes or no (causal_reranker.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classer_core.classifiers import Classifier
from classer_core.models import Model
from classer_core.models.causal_reranker import CausalReranker, label_statements
from classer_core.models.choosing import kind_for
from classer_core.models.hub import failed, look_at
from classer_core.models.networks import Floats, Network
from classer_core.models.pairs import PairScorer
from classer_core.models.shortlists import with_shortlist
from classer_core.models.windowed import Values

if TYPE_CHECKING:
    from classer_core.models.spec import ModelSpec


def load(spec: ModelSpec, threads: int | None = None) -> Model:
    """Load a reranker.

    Raises:
        ModelLoadError: it can't be loaded, or has more than one output.
    """
    if look_at(spec).architecture.endswith("ForCausalLM"):
        network = Network.load(spec, "reranker", "AutoModelForCausalLM", threads)
        return with_shortlist(CausalReranker(network, spec), spec.shortlist, threads)
    network = Network.load(spec, "reranker", "AutoModelForSequenceClassification", threads)
    names = network.files.label_names
    if len(names) != 1:
        kind, reason = kind_for(spec.source, network.files)
        raise failed(spec, f"a reranker has one output: {reason}", f"Write {kind}:{spec.source}")
    id = f"reranker:{spec.source}@{network.digest}-{network.number_format}"
    scorer = PairScorer(network, id, label_statements, _relevance, text_first=False)
    return with_shortlist(scorer, spec.shortlist, threads)


def _relevance(outputs: Floats, classifier: Classifier) -> Values:
    """Return the scores (n_labels,): rerankers are trained with a sigmoid, so that they are log odds already."""
    return outputs[:, 0]
