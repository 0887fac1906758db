"""Reading the rows of many parts: some parts at a time, into arrays no larger than their values ask for."""

import concurrent.futures
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np

MOST_ROWS = 1 << 20  # in memory at once, and as many on their way: what a store holds in all does not matter
MISSING = -1  # in whole numbers, which have no NaN


class Part(NamedTuple):
    """A part that is there: its file, its tile's rows and scenarios."""

    path: pathlib.Path
    rows: int
    scenarios: tuple[str, ...]


def rows_of(tile: Mapping[str, Any]) -> int:
    """The rows of a tile of the manifest."""
    return len(tile["scenarios"]) * len(tile["seeds"]) * (tile["stop"] - tile["start"])


def batches(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], columns: Mapping[str, str]
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of parts, in the order of the parts and of their rows, some parts at a time.

    Args:
      connection: with the type `scenario_name`.
      parts: any.
      columns: name to an expression of SQL over a part's columns.

    Yields:
      Columns `[rows]` by name; with them `row`, the row's number within its part.
    """
    fields = ", ".join(f'{expression} as "{name}"' for name, expression in columns.items())
    query = f"select file_row_number as row, {fields} from read_parquet(?, file_row_number = true)"

    def read(paths: list[str]) -> dict[str, Any]:
        return connection.cursor().execute(query, [paths]).fetchnumpy()

    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="sensijax-reader") as thread:
        coming = None
        for paths in groups(parts):
            ready, coming = coming, thread.submit(read, paths)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


def groups(parts: Sequence[Part]) -> Iterator[list[str]]:
    """The files of parts, in their order, so many at a time that their rows are at most `MOST_ROWS`; at least one."""
    paths, rows = [], 0
    for part in parts:
        if paths and rows + part.rows > MOST_ROWS:
            yield paths
            paths, rows = [], 0
        paths.append(str(part.path))
        rows += part.rows
    if paths:
        yield paths


class Arrays(Mapping[str, np.ndarray]):
    """Scenario to values, float64 `[seeds, examples]`; NaN where there is none.

    They are held in the dtype they come in, once for all seeds where nothing is drawn, and spelled out when they are
    asked for: 10^8 answers, right or wrong, take 100 MB.

    Args:
      seeds: how many the campaign has.
      examples: the ids, ascending.
      own: scenario to the number of its seeds: all of them, or one that stands for all.
      dtype: int8 for whole numbers from 0 on, float32 or float64.
    """

    def __init__(self, seeds: int, examples: np.ndarray, own: Mapping[str, int], dtype: Any):
        self._seeds, self._examples = seeds, examples
        counts = [seeds if n == seeds else 1 for n in own.values()]
        starts = np.cumsum([0, *counts])
        self._place = {name: (int(start), n) for name, start, n in zip(own, starts, counts, strict=False)}
        self._dtype = np.dtype(dtype)
        missing = np.nan if self._dtype.kind == "f" else MISSING
        self._rows = np.full((int(starts[-1]), len(examples)), missing, self._dtype)
        # Ids without a gap are places; others are looked up.
        dense = len(examples) > 0 and examples.dtype.kind in "iu" and int(examples[-1]) - int(examples[0]) + 1
        self._first = examples[0] if dense == len(examples) else None

    def put(self, starts: np.ndarray, seed: np.ndarray, example: np.ndarray, values: np.ndarray) -> None:
        """Enters rows: `starts` from `starts_of` by row, `seed` the place of its seed, `example` its id."""
        column = np.searchsorted(self._examples, example) if self._first is None else example - self._first
        self._rows[starts + seed, column] = values

    def starts_of(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Of each scenario of a list: where it begins, and how many seeds it has of its own; -1 and 0 for others."""
        places = [self._place.get(name, (-1, 0)) for name in names]
        return np.array([start for start, _ in places]), np.array([n for _, n in places])

    def __getitem__(self, name: str) -> np.ndarray:
        start, own = self._place[name]
        rows = self._rows[start : start + own]
        values = rows.astype(np.float64)
        if self._dtype.kind != "f":
            values[rows == MISSING] = np.nan
        return values if own == self._seeds else np.broadcast_to(values, (self._seeds, len(self._examples)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)
