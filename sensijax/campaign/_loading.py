"""Blocks: runs of examples on the device, the next one on its way while the last tile of this one is computed."""

import concurrent.futures
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._programs import Block
from sensijax.core import ArgumentError, Layout, Place, chunks
from sensijax.core.keys import words

Span = tuple[int, int]
"""(start, stop) in the campaign's examples."""


class Blocks:
    """The examples that tiles are about, on the device.

    One block is there at a time, and where tiles come in the plan's order, the next one comes early: examples are read,
    looked at and sent by a thread of their own. What the model says to them is asked for in its turn.

    Args:
      campaign: whose examples.
      plan: its plan.
      layout: where a block goes: whole to every device.
      micro_batch: how many examples the model is shown at once.
      forward: outputs of one micro-batch.
    """

    def __init__(
        self,
        campaign: Campaign,
        plan: Plan,
        layout: Layout,
        micro_batch: int,
        forward: Callable[[np.ndarray], jax.Array],
    ):
        self.campaign, self.layout, self.micro_batch, self.forward = campaign, layout, micro_batch, forward
        self.size = plan.block
        spans = [(tile.start, tile.stop) for tile in plan.tiles]
        ids = [tile.id for tile in plan.tiles]
        self._next = dict(zip(zip(ids, spans, strict=True), spans[1:], strict=False))
        self._here: tuple[Span, Block] | None = None
        self._coming: tuple[Span, concurrent.futures.Future] | None = None
        self._sender = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="sensijax-block")
        self._judged = False  # whether the model's outputs were seen to be no probabilities

    def of(self, tile: Tile) -> Block:
        """The block of a tile; sent now, unless it is there or on its way."""
        span = tile.start, tile.stop
        if self._here is None or self._here[0] != span:
            self._here = span, self._answered(span, self._sent_already(span) or self._send(span))
        return self._here[1]

    def ahead(self, tile: Tile) -> None:
        """Starts to send the block of the tile that follows in the plan, if it is another one.

        A part of a tile, as is shown or timed, has no follower.
        """
        span = self._next.get((tile.id, (tile.start, tile.stop)))
        if span is None or self._coming is not None or (self._here is not None and self._here[0] == span):
            return
        self._coming = span, self._sender.submit(self._send, span)

    def _sent_already(self, span: Span) -> tuple[Any, ...] | None:
        if self._coming is None:
            return None
        (meant, sending), self._coming = self._coming, None
        try:
            return sending.result() if meant == span else None
        except jax.errors.JaxRuntimeError:  # no room for two blocks: the old one goes first
            self._here = None
            return None

    def _send(self, span: Span) -> tuple[Any, ...]:
        """x, y, ids and soundness of the block's examples, on the devices; it does not wait until they are there."""
        x, y, ids = self._examples(span)
        sound: np.ndarray = np.isfinite(x.reshape(len(x), -1)).all(axis=-1)  # type: ignore[assignment]
        return tuple(self.layout.put(self._padded(part), Place.WHOLE) for part in (x, y, ids, sound))

    def _answered(self, span: Span, sent: tuple[Any, ...]) -> Block:
        x, count = self._examples(span)[0], span[1] - span[0]
        clean = jnp.concatenate([self.forward(x[c.rows])[: c.valid] for c in chunks(count, self.micro_batch)])
        if not self._judged:
            self._judge(np.asarray(clean), np.asarray(sent[3])[:count])
        if count < self.size:
            clean = jnp.concatenate([clean, jnp.zeros((self.size - count, *clean.shape[1:]), clean.dtype)])
        x, y, ids, sound = sent
        return Block(x, y, ids, self.layout.put(clean, Place.WHOLE), sound)

    def _examples(self, span: Span) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        examples, rows = self.campaign.examples, slice(*span)
        return examples.x[rows], examples.y[rows], words(examples.ids[rows])

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        """Rows of one block's length, the last one repeated: no tile asks for those."""
        return rows if len(rows) == self.size else rows[np.minimum(np.arange(self.size), len(rows) - 1)]

    def _judge(self, outputs: np.ndarray, sound: np.ndarray) -> None:
        """Refuses probabilities. Looks at blocks until one of them shows outputs that are numbers."""
        if not self.campaign.examples.is_classification:
            self._judged = True
            return
        seen = outputs[sound & np.isfinite(outputs).all(axis=1)].astype(np.float32)
        if len(seen) and (seen >= 0).all() and np.allclose(seen.sum(axis=1), 1.0, atol=1e-3):
            raise ArgumentError(
                "model",
                f"{self.campaign.model.name!r} returns probabilities (non-negative rows that sum to 1)",
                "logits: leave out the softmax, or return jnp.log of the probabilities",
            )
        self._judged = bool(len(seen))
