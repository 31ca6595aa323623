"""The backbone on a device, run over packed tokens.

Depth is a loop over blocks, one for all depths or one for each, that can stop at any depth and
resume from it. Linear maps run on real tokens only, without padding; query, key and value are one
product; attention runs on windows of equal length together. Large buffers are kept between calls,
because allocating them at every depth takes much of the time of a plain implementation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

import torch
from torch.nn import functional

from adapterhub.errors import BackboneError, UsageError, check_type
from adapterhub.model.backbone.caller_state import inference, own_state
from adapterhub.model.backbone.devices import find_device, find_dtype
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.buffers import Buffers, Workspaces
from adapterhub.model.encoder.changes import Applied, Changes, Packed, changes_at
from adapterhub.model.encoder.tokens import TokenBatch, Window, pack
from adapterhub.model.encoder.weights import Block, Norm, read_block, read_embeddings

# Tokens per batch: enough for efficient matrix products, few enough for the caches.
_BATCH_TOKENS = {"cpu": 2048, "cuda": 16384, "mps": 8192}
# Tokens of all branches that run stacked: a GPU gains from large products, a CPU does not.
_STACK_TOKENS = {"cpu": 4096, "cuda": 131072, "mps": 32768}


class Encoder:
    """A frozen encoder on a device; immutable and thread-safe.

    Attributes:
        spec: Identity and sizes of the backbone.
        device: The device of its weights.
        dtype: The dtype of weights and hidden states; features and heads are always fp32.
        max_positions: Maximum length of a window, in tokens.
        batch_tokens: Recommended number of tokens per batch on this device.
        stack_tokens: Maximum number of tokens of branches that run as one stack.
    """

    @own_state
    def __init__(self, backbone: Backbone, *, device: str = "auto", dtype: str = "float32") -> None:
        """Copies the weights of `backbone` to a device.

        Args:
            backbone: From `open_backbone`.
            device: `cpu`, `cuda`, `cuda:<n>`, `mps` or `auto`.
            dtype: `float32`, `float16` or `bfloat16`.

        Raises:
            UnsupportedDeviceError: The device is not available.
            UsageError: The dtype is not known.
            BackboneError: The hidden states overflow in `dtype`.
        """
        check_type(backbone, Backbone, "The backbone of an encoder", "one from open_backbone")
        config = backbone.config
        self.device = find_device(device)
        self.dtype = find_dtype(dtype)
        self.spec = backbone.spec
        self.max_positions = int(config.max_position_embeddings)
        self.batch_tokens = _BATCH_TOKENS[self.device.type]
        self.stack_tokens = _STACK_TOKENS[self.device.type]
        self._attention_heads = int(config.num_attention_heads)
        self._eps = float(config.layer_norm_eps)
        self._gelu = backbone.gelu
        state = backbone.weights
        self._embeddings = read_embeddings(state, device=self.device, dtype=self.dtype)
        self._groups = tuple(
            tuple(
                read_block(state, group=group, inner=inner, device=self.device, dtype=self.dtype)
                for inner in range(config.inner_group_num)
            )
            for group in range(config.num_hidden_groups)
        )
        self._workspaces = Workspaces(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            device=self.device,
            dtype=self.dtype,
        )
        self._process = os.getpid()
        self._check_finite(config.vocab_size)

    @property
    def hidden_size(self) -> int:
        """Returns the width H of the hidden states."""
        return self.spec.hidden_size

    @property
    def depth(self) -> int:
        """Returns the number D of depths."""
        return self.spec.num_hidden_layers

    def __reduce__(self) -> NoReturn:
        """Refuses to be pickled or copied.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            "An Encoder cannot be pickled or copied; make one in each process, with "
            "Encoder(open_backbone(...)). A Hub can be pickled: it opens again from its registry."
        )

    def check_process(self) -> None:
        """Checks that the device can be used in this process.

        Raises:
            UsageError: It is a GPU, and the process was forked after the encoder was made.
        """
        if self.device.type != "cpu" and os.getpid() != self._process:
            raise UsageError(
                f"The encoder is on {self.device}, which a forked process cannot use. Open the Hub "
                f"after the fork, or start processes with multiprocessing's 'spawn' or "
                f"'forkserver'."
            )

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields all weights on the device, in a fixed order; those of products may be packed."""
        yield from self._embeddings.tensors()
        for group in self._groups:
            for block in group:
                yield from block.tensors()

    @property
    def bytes(self) -> int:
        """Returns the size of the weights on the device, in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())

    @inference
    def embed(self, batch: TokenBatch) -> torch.Tensor:
        """Returns the hidden states at depth 0: (P, H) in the encoder's dtype."""
        self.check_process()
        tables = self._embeddings
        total = functional.embedding(batch.input_ids, tables.words)
        # Adds in the order of transformers, for equal rounding: words, segments, positions.
        if tables.types.shape[0] == 1:
            total += tables.types  # of families with one type for both texts of a pair
        else:
            total += functional.embedding(batch.token_type_ids, tables.types)
        total += functional.embedding(batch.position_ids, tables.positions)
        normed = functional.layer_norm(
            total, (total.shape[1],), tables.norm.weight, tables.norm.bias, self._eps
        )
        if tables.map is None:
            return normed
        return tables.map(normed, buffer=normed.new_empty(normed.shape[0], self.hidden_size))

    def group_of(self, depth: int) -> int:
        """Returns the index of the weights of the pass from `depth` to `depth` + 1."""
        # Source: transformers 5.23, AlbertTransformer.forward: groups share the depths evenly.
        return int(depth / (self.depth / len(self._groups)))

    def block_at(self, depth: int) -> Block:
        """Returns the weights of the pass from `depth` to `depth` + 1.

        Raises:
            ValueError: A pass of this backbone runs several blocks.
        """
        group = self._groups[self.group_of(depth)]
        if len(group) > 1:
            raise ValueError(f"the backbone has {len(group)} inner blocks at each depth, not one")
        return group[0]

    @inference
    def run(
        self,
        hidden: torch.Tensor,
        batch: Packed,
        start: int,
        stop: int,
        adapters: Sequence[Applied] = (),
    ) -> torch.Tensor:
        """Returns the hidden states at depth `stop`, (P, H), from those at depth `start`.

        Args:
            hidden: (P, H) in the encoder's dtype; not changed.
            batch: The tokens of `hidden`.
            start: Depth of `hidden`, from 0.
            stop: Depth to run to, at most D; if equal to `start`, returns `hidden` itself.
            adapters: Adapters and their rows of `hidden`, by ascending rows that do not overlap.

        Raises:
            ValueError: Not 0 <= start <= stop <= D.
        """
        if not 0 <= start <= stop <= self.depth:
            raise ValueError(f"cannot run from depth {start} to {stop} of {self.depth}")
        if start == stop:
            return hidden
        taken = self._workspaces.take(batch.tokens)
        try:
            space = taken.first(batch.tokens)
            for depth in range(start, stop):
                changes = changes_at(depth, adapters)
                for block in self._groups[self.group_of(depth)]:
                    hidden = self._apply(block, hidden, batch, space, changes)
            # The buffers are reused by the next call.
            return hidden.clone()
        finally:
            self._workspaces.give_back(taken)

    def _apply(
        self, block: Block, hidden: torch.Tensor, batch: Packed, space: Buffers, changes: Changes
    ) -> torch.Tensor:
        """Returns the hidden states after one block, in `space.hidden`."""
        qkv = changes.map("qkv", block, hidden, buffer=space.qkv)
        self._attend(batch, qkv, space.context)
        mapped = changes.map("out", block, space.context, buffer=space.mapped)
        mapped.add_(hidden)
        norms = changes.norms("attention_norm", block, batch.tokens)
        self._norm(norms, mapped, space, out=space.attended)
        wide = changes.map("up", block, space.attended, buffer=space.wide)
        torch.ops.aten.gelu_(wide, approximate=self._gelu)
        mapped = changes.map("down", block, wide, buffer=space.mapped)
        mapped.add_(space.attended)
        norms = changes.norms("output_norm", block, batch.tokens)
        self._norm(norms, mapped, space, out=space.hidden)
        return space.hidden

    def _attend(self, batch: Packed, qkv: torch.Tensor, context: torch.Tensor) -> None:
        """Computes attention within each window from `qkv` (P, 3H) into `context` (P, H)."""
        heads = self._attention_heads
        size = self.hidden_size // heads
        for bucket in batch.buckets:
            rows = slice(bucket.start, bucket.stop)
            # (n*L, 3H) -> (n, L, 3, A, H/A) -> (3, n, A, L, H/A), all views
            packed = qkv[rows].view(bucket.windows, bucket.length, 3, heads, size)
            query, key, value = packed.permute(2, 0, 3, 1, 4).unbind(0)
            found = functional.scaled_dot_product_attention(query, key, value)
            # (n, A, L, H/A) -> (n, L, A, H/A)
            target = context[rows].view(bucket.windows, bucket.length, heads, size)
            target.copy_(found.transpose(1, 2))

    def _norm(
        self,
        norms: Iterable[tuple[slice, Norm]],
        total: torch.Tensor,
        space: Buffers,
        *,
        out: torch.Tensor,
    ) -> None:
        """Computes the layer norms of the rows of `total` (P, H) into `out` (P, H)."""
        for rows, norm in norms:
            torch.ops.aten.native_layer_norm.out(
                total[rows],
                [self.hidden_size],
                norm.weight,
                norm.bias,
                self._eps,
                out0=out[rows],
                out1=space.mean[rows],
                out2=space.rstd[rows],
            )

    def _check_finite(self, vocab_size: int) -> None:
        """Runs a probe over all depths; large encoders can overflow in half precision.

        Raises:
            BackboneError: The hidden states overflow.
        """
        ids = [(7 * i) % vocab_size for i in range(min(32, self.max_positions))]
        batch = pack([Window(0, 0, len(ids), ids, [0] * len(ids))], device=self.device)
        if not torch.isfinite(self.run(self.embed(batch), batch, 0, self.depth)).all():
            way_out = "its weights are damaged: fetch it again"
            if self.dtype != torch.float32:
                way_out = "use dtype='float32'"
            raise BackboneError(
                self.spec.name, f"the hidden states overflow in {self.dtype}; {way_out}"
            )
