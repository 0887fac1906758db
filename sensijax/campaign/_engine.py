"""The engine: compiled programs, examples on the device, and tiles dispatched through them in micro-batches."""

import concurrent.futures
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._loading import Blocks
from sensijax.campaign._mesh import engine_layout
from sensijax.campaign._paths import Paths, moving
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._programs import Name, Programs
from sensijax.campaign._standing import Standing
from sensijax.campaign._structure import Link, OnDevice, Structure
from sensijax.core import ArgumentError, Batch, Layout, Place, chunks, stage_key_data, take
from sensijax.core.rows import Chunk


class Answers(NamedTuple):
    """Responses on their way.

    Attributes:
      rows: int64 `[valid]`, the tile's rows that they are for; -1 for none.
      columns: name to `[micro-batch]`, on the device.
    """

    rows: np.ndarray
    columns: dict[str, jax.Array]


def gathered(tile: Tile, found: list[Answers]) -> dict[str, np.ndarray]:
    """The columns of a tile `[tile.rows]`, on the host."""
    columns = {name: np.empty(tile.rows, column.dtype) for name, column in found[0].columns.items()}
    for rows, part in found:
        meant = rows >= 0
        for name, column in part.items():
            columns[name][rows[meant]] = np.asarray(column)[: len(rows)][meant]
    return columns


class Engine:
    """Computes tiles at one micro-batch.

    On a mesh the rows of a micro-batch are cut into shares, one for each device along the mesh's axis of rows, and each
    device runs what one device would run for a micro-batch as wide as its share. A share holds the rows of a whole
    micro-batch of that width: so the responses of an engine of `n * width` rows on n devices are bitwise those of an
    engine of `width` rows on one of them, as far as the devices are of one kind. At another width the last bits may
    differ. A model whose parameters are split over devices (`NamedSharding`) runs as the compiler cuts it up: its
    outputs, and what depends on them, agree with one device's to rounding, and are repeated bitwise on the same mesh at
    the same width.

    Args:
      campaign: what to compute.
      plan: its plan.
      programs: its programs.
      micro_batch: rows computed at once, by all devices together; every chunk has exactly this many.
      mesh: the devices over which the rows of a micro-batch are spread, along all axes that no parameter is split over,
        or those that a `Layout` names; None: the mesh that the model's parameters lie on, or one device.

    Attributes:
      layout: where rows lie.
      width: the rows of a share. It decides the last bits, and is recorded with every row.
      compiled: how many programs were compiled so far.
      compile_seconds: how long that took (wall clock; programs compile side by side).

    Raises:
      ArgumentError: if the micro-batch is no multiple of the shares, or the parameters are split over another mesh.
    """

    def __init__(
        self,
        campaign: Campaign,
        plan: Plan,
        programs: Programs,
        micro_batch: int,
        mesh: jax.sharding.Mesh | Layout | None = None,
    ):
        self.campaign, self.plan, self.programs, self.micro_batch = campaign, plan, programs, micro_batch
        self.layout = engine_layout(mesh, campaign.model.params)
        self.width, rest = divmod(micro_batch, self.layout.shares)
        if rest or self.width < 1:
            shares, wider = self.layout.shares, (self.width + 1) * self.layout.shares
            right = f"a multiple of {shares}, the shares that its rows are cut into on the mesh: {wider}, say"
            raise ArgumentError("micro_batch", micro_batch, right)
        self.compiled = 0
        self.compile_seconds = 0.0
        self._executables: dict[Name, Any] = {}
        self._params = self.layout.put(campaign.model.params, Place.PARAMS)
        self._blocks = Blocks(campaign, plan, self.layout, micro_batch, self.forward)

    @classmethod
    def of_width(
        cls,
        campaign: Campaign,
        plan: Plan,
        programs: Programs,
        width: int,
        mesh: jax.sharding.Mesh | Layout | None = None,
    ) -> Self:
        """The engine whose shares are so wide: that computes what was recorded with this width, to the last bit."""
        layout = engine_layout(mesh, campaign.model.params)
        return cls(campaign, plan, programs, width * layout.shares, layout)

    def compile(self, structures: tuple[Structure, ...]) -> None:
        """Compiles what tiles of these structures need and is not compiled yet, several programs side by side."""
        names: list[Name] = [n for n in ("load", "forward", "measure", *structures) if n not in self._executables]
        started = time.perf_counter()
        model = OnDevice(self._params, self.forward, self.layout)
        traced = [self.programs.prepare(name, self.micro_batch, self.plan.block, model) for name in names]
        with concurrent.futures.ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            for name, executable in zip(names, pool.map(lambda compiled: compiled(), traced), strict=True):
                self._executables[name] = executable
        self.compiled += sum(name.compilations if isinstance(name, Structure) else 1 for name in names)
        self.compile_seconds += time.perf_counter() - started

    @property
    def footprint(self) -> int:
        """Bytes that the model's forward pass takes at this micro-batch, as far as the compiler says."""
        analysis = self._executables["forward"].memory_analysis()
        if analysis is None:
            return 0
        return analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes

    def dispatch(self, tile: Tile) -> list["Answers"]:
        """Puts a whole tile on the device's queue; returns at once, with the columns to come.

        Where a stage is `synchronous`, it returns when that stage is done with the last chunk.
        """
        paths, standing = Paths(self.campaign, tile), self.campaign.standings.rows(tile)
        found = [
            answers
            for chunk, batch, x in self._rows(tile, paths)
            for answers in self._respond(chunk, batch, x, paths, standing)
        ]
        self._blocks.ahead(tile)
        return found

    def inputs(self, tile: Tile) -> np.ndarray:
        """The inputs of a tile as the model is shown them, `[scenarios, seeds, examples, ...]`."""
        paths = Paths(self.campaign, tile)
        parts = [np.asarray(x)[: chunk.valid] for chunk, _, x in self._rows(tile, paths)]
        return np.concatenate(parts)[paths.answer].reshape(*tile.shape, *self.campaign.examples.x.shape[1:])

    def shown(self, tile: Tile) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The inputs of a tile as the model is shown them `[rows, ...]`, with their responses."""
        paths, standing = Paths(self.campaign, tile), self.campaign.standings.rows(tile)
        parts, found = [], []
        for chunk, batch, x in self._rows(tile, paths):
            parts.append(np.asarray(x)[: chunk.valid])
            found += self._respond(chunk, batch, x, paths, standing)
        return np.concatenate(parts)[paths.answer], gathered(tile, found)

    def answers(
        self, positions: np.ndarray, ids: np.ndarray, y: np.ndarray, links: Sequence[Link], *, keep_inputs: bool = False
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray | None]:
        """What becomes of rows which no tile holds, such as those of a stream.

        Args:
          positions: integers `[n]`, n >= 1: which of the campaign's examples they are.
          ids: uint32 `[n, 2]`, the address of each row's draws within a stage.
          y: `[n, ...]`, what they are judged by.
          links: the stages that move them, in order.
          keep_inputs: whether to return what the model is shown.

        Returns:
          The responses `[n]` by name, of which those that compare with clean outputs compare the outputs with
          themselves; the outputs `[n, ...]`; and the inputs `[n, ...]`, or None.
        """
        self.compile(tuple(link.structure for link in links))
        examples, sound, parts = self.campaign.examples.x, np.ones(self.micro_batch, bool), []
        for rows, valid in chunks(len(positions), self.micro_batch):
            x: Any = examples[positions[rows]]
            moved, batch = x, Batch(x, y[rows], ids[rows], None, sound)  # type: ignore[arg-type]
            for link in links:
                met = batch if link.labels is None else dataclasses.replace(batch, y=link.labels[rows])
                key = np.broadcast_to(link.key, (len(rows), 2))
                moved = self._executables[link.structure](take(link.settings, rows), key, met, moved, valid)
            outputs = self.forward(moved)
            columns = self._executables["measure"](outputs, dataclasses.replace(batch, clean=outputs))
            found = (columns, outputs, moved if keep_inputs else None)
            parts.append(jax.tree.map(lambda leaf, valid=valid: np.asarray(leaf)[:valid], found))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def row(self, tile: Tile, row: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One row of a tile, computed in the very micro-batch that it belongs to: its input `[...]`, its responses."""
        if not 0 <= row < tile.rows:
            raise ArgumentError("row", row, f"a row of the tile: 0..{tile.rows - 1}")
        paths, standing = Paths(self.campaign, tile), self.campaign.standings.rows(tile)
        place = int(paths.answer[row])
        start = place // self.micro_batch * self.micro_batch
        (chunk, batch, x), *_ = self._rows(tile, paths, only=start)
        for answers in self._respond(chunk, batch, x, paths, standing):
            if answers.rows[place - start] == row:
                columns = {name: np.asarray(column)[place - start] for name, column in answers.columns.items()}
                return np.asarray(x)[place - start], columns
        raise AssertionError("a row of the tile has no answer")

    def _rows(self, tile: Tile, paths: Paths, only: int | None = None) -> Iterator[tuple[Chunk, Any, jax.Array]]:
        self.compile(tile.structures)
        block = self._blocks.of(tile)
        campaign = self.campaign
        each = [moving(campaign, path) for path in paths.paths]
        stages = [setting.stage for setting in each[0]]
        # Small tables, a row a variant, gathered on the host: micro-batches have the same shapes, whatever the tile.
        variants = [
            jax.tree.map(np.asarray, _stack([campaign.perturbation(*settings[k]) for settings in each]))
            for k in range(len(stages))
        ]
        keys = [np.stack([stage_key_data(seed, stage) for seed in paths.seeds]) for stage in stages]
        met = [
            self._labels_met(paths, stage) if s.synchronous else None
            for stage, s in zip(stages, tile.structures, strict=True)
        ]
        for chunk in chunks(paths.rows, self.micro_batch):
            if only is not None and chunk.rows[0] != only:
                continue
            variant, seed, example = np.unravel_index(chunk.rows, paths.shape)
            batch = self._executables["load"](block, example.astype(np.int32))
            x = batch.x
            for structure, settings, key, labels in zip(tile.structures, variants, keys, met, strict=True):
                seen = batch if labels is None else dataclasses.replace(batch, y=labels[chunk.rows])
                x = self._executables[structure](take(settings, variant), key[seed], seen, x, chunk.valid)
            yield chunk, batch, x

    def _labels_met(self, paths: Paths, stage: str) -> np.ndarray | None:
        """The labels that an attack aims at, `[paths.rows]`, as the stages before it leave them; None: the data's."""
        standings, tile = self.campaign.standings, paths.tile
        before = [path[: [s.stage for s in path].index(stage)] for path in paths.paths]
        if not any(standings.relevant(path) for path in before):
            return None
        found = [standings.of(path, seed).observed[tile.start : tile.stop] for path in before for seed in paths.seeds]
        return np.concatenate(found)

    def _respond(
        self, chunk: Chunk, batch: Any, x: jax.Array, paths: Paths, standing: Standing | None
    ) -> Iterator["Answers"]:
        """The responses of a chunk, once for each way in which its rows are called."""
        outputs = self.forward(x)
        for rows in paths.uses[chunk.rows].T:
            if (rows[: chunk.valid] < 0).all():
                continue
            judged = batch if standing is None else dataclasses.replace(batch, y=standing.observed[rows])
            yield Answers(rows[: chunk.valid], self._executables["measure"](outputs, judged))

    def forward(self, x: Any) -> jax.Array:
        """The model's outputs `[micro_batch, ...]` for so many inputs; `compile` comes first."""
        return self._executables["forward"](self._params, x)


def _stack(perturbations: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *perturbations)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device said that it has no memory left."""
    text = str(error)
    return "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()
