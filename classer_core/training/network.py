"""The network that is trained: multilingual-e5-small with some of its layers, as a float32 BERT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from classer_core.models.e5_file import E5File

if TYPE_CHECKING:
    from transformers import BertModel


def bert(published: E5File, layers: Sequence[int]) -> BertModel:
    """Return the published network with only the `layers` named, in that order; float32, without dropout."""
    import torch
    from transformers import BertConfig, BertModel

    header = published.header
    config = BertConfig(
        vocab_size=header.n_word_vectors,
        hidden_size=header.n_dimensions,
        num_hidden_layers=len(layers),
        num_attention_heads=header.n_heads,
        intermediate_size=header.n_feed_forward,
        max_position_embeddings=header.n_positions,
        type_vocab_size=header.n_token_types,
        layer_norm_eps=header.epsilon,
        pad_token_id=1,
    )
    state = dict(published.embeddings())
    codes, scales = published.word_vectors()
    blocks = codes.reshape(len(codes), -1, 16)
    weights = np.concatenate([blocks & 15, blocks >> 4], axis=-1).astype(np.float32)
    weights = (weights - 8) * scales[:, :, None].astype(np.float32)
    state["embeddings.word_embeddings.weight"] = weights.reshape(len(codes), -1)
    for own, number in enumerate(layers):
        state |= {f"encoder.layer.{own}.{name}": values for name, values in published.layer(number).items()}
    # Without the meta device 96 million weights would be drawn at random first.
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    # Plain attention is faster than the fused one on a CPU, counted with its gradients.
    model.set_attn_implementation("eager")
    tensors = {name: torch.from_numpy(values) for name, values in state.items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    positions = torch.arange(header.n_positions)[None]
    model.embeddings.register_buffer("position_ids", positions, persistent=False)
    model.embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)
    model.train(False)
    return model
