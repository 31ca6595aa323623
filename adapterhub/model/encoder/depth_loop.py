"""The loop over depths: batches of windows -> hidden states at the requested depths.

Scoring, text features, the features that heads are trained on and the hidden states that adapters
are trained on all come from here; nothing else runs the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.model.encoder.changes import Adapter, Applied, stack_batches
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TokenBatch, pack

Places = npt.NDArray[np.int64]

Kept = Callable[[int, TokenBatch, int], Places | None]
"""(route, batch, depth) -> the windows of the batch to run to that depth; None for all."""


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """Hidden states of a batch at one depth.

    Attributes:
        batch: The windows as P packed tokens.
        depth: The depth, from 0.
        hidden: (P, H) in the encoder's dtype.
    """

    batch: TokenBatch
    depth: int
    hidden: torch.Tensor

    def only(self, places: Places | None) -> States:
        """Returns the states of the windows `places`, ascending; None for all of them."""
        if places is None:
            return self
        tokens = self.batch.tokens_of(places)
        batch = pack([self.batch.windows[place] for place in places], device=self.hidden.device)
        return States(batch, self.depth, self.hidden.index_select(0, tokens))


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """The passes of the trunk, or of a branch with an adapter.

    Attributes:
        start: The states that it starts from.
        stops: The requested depths, ascending, from the start on.
        adapter: The adapter of a branch; None on the trunk.
    """

    start: States
    stops: tuple[int, ...]
    adapter: Adapter | None = None


def each_depth(
    batches: Iterable[TokenBatch],
    depths: tuple[int, ...],
    *,
    encoder: Encoder,
    adapter: Adapter | None = None,
) -> Iterator[States]:
    """Yields the states at each of `depths`, ascending, for one batch after the other."""
    for batch in batches:
        start = States(batch, 0, encoder.embed(batch))
        for _, states in run_routes([Route(start, depths, adapter)], encoder=encoder):
            yield states


def run_routes(
    routes: Sequence[Route], *, encoder: Encoder, kept: Kept | None = None
) -> Iterator[tuple[int, States]]:
    """Yields (index of the route, states) at the stops of all routes, by ascending depth.

    Routes at the same depth run stacked: one matrix product with the weights of the block for all
    of them. A route joins at its start and leaves after its last stop, or when none of its windows
    is kept.

    Args:
        routes: The routes.
        encoder: Runs the passes.
        kept: Which windows to run further; None for all of them.
    """
    depths = sorted({depth for route in routes for depth in (route.start.depth, *route.stops)})
    live: dict[int, States] = {}
    for depth, following in zip(depths, [*depths[1:], None], strict=True):
        live |= {i: one.start for i, one in enumerate(routes) if one.start.depth == depth}
        for index, states in live.items():
            if depth in routes[index].stops:
                yield index, states
        if following is None:
            return
        further = {i: one for i, one in live.items() if max(routes[i].stops, default=0) > depth}
        live = _advance(further, following, routes, encoder, kept)


def _advance(
    live: dict[int, States],
    depth: int,
    routes: Sequence[Route],
    encoder: Encoder,
    kept: Kept | None,
) -> dict[int, States]:
    """Returns the states of routes, all at the same depth, at the later `depth`."""
    if kept is not None:
        narrowed = {i: one.only(kept(i, one.batch, depth)) for i, one in live.items()}
        live = {index: states for index, states in narrowed.items() if states.batch.windows}
    if not live:
        return {}
    stack = stack_batches([states.batch for states in live.values()])
    hidden = [states.hidden for states in live.values()]
    applied = [
        Applied(adapter, rows)
        for index, rows in zip(live, stack.rows, strict=True)
        if (adapter := routes[index].adapter) is not None
    ]
    start = next(iter(live.values())).depth
    moved = encoder.run(
        hidden[0] if len(hidden) == 1 else torch.cat(hidden), stack, start, depth, applied
    )
    return {
        index: States(states.batch, depth, moved[rows])
        for (index, states), rows in zip(live.items(), stack.rows, strict=True)
    }
