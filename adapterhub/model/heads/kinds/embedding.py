"""The K logits of a whole text -> a vector of unit length."""

from __future__ import annotations

import numpy as np

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.kinds.decoder import Decoder
from adapterhub.results import Answer, Vector
from adapterhub.specs import TaskSpec

# As torch.nn.functional.normalize: a vector of zeros stays one.
_SMALLEST_NORM = 1e-12


def unit_vectors(logits: Array) -> Array:
    """Returns vectors (N, K) divided by their L2 norm."""
    norms = np.linalg.norm(logits, axis=1, keepdims=True)
    found: Array = logits / np.maximum(norms, np.float32(_SMALLEST_NORM))
    return found


class EmbeddingDecoder(Decoder):
    """Decodes to one vector per row."""

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        del spec, options  # A text has one vector.
        return [Vector(vector=row) for row in unit_vectors(logits.matrix).tolist()]
