"""Columns as a Parquet file: the same rows give the same bytes."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np


class Coded(NamedTuple):
    """A column of few distinct words: `words[codes[i]]` in row i.

    DuckDB spells the words out; handing it Python strings, a row at a time, would cost more than all else.
    """

    words: Sequence[str]
    codes: np.ndarray


class ColumnWriter:
    """Writes columns as Parquet files, through a DuckDB connection of its own, made when it is needed."""

    def __init__(self):
        self._writer: duckdb.DuckDBPyConnection | None = None

    def write(
        self, path: pathlib.Path, columns: Mapping[str, np.ndarray | Coded], constants: Mapping[str, Any]
    ) -> None:
        """Writes a file.

        Args:
          path: where.
          columns: name to array `[rows]` or `Coded`; NaN in a float column becomes NULL.
          constants: name to the value that every row has.
        """
        if self._writer is None:
            # One thread and no insertion-order freedom: the same rows give the same bytes.
            self._writer = duckdb.connect(config={"threads": 1})
        fields = [f"{_expression(name, column)} as {_name(name)}" for name, column in columns.items()]
        fields += [f"{quoted(v) if isinstance(v, str) else v} as {_name(k)}" for k, v in constants.items()]
        table = {name: _plain(column) for name, column in columns.items()}
        self._writer.register("tile", table)
        try:
            self._writer.execute(
                f"copy (select {', '.join(fields)} from tile) to {quoted(str(path))} (format parquet, compression zstd)"
            )
        finally:
            self._writer.unregister("tile")


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _expression(name: str, column: np.ndarray | Coded) -> str:
    if isinstance(column, Coded):
        return f"[{', '.join(map(quoted, column.words))}][{_name(name)} + 1]"
    # Looking for NaN here is much cheaper than having DuckDB look at each row.
    if column.dtype.kind == "f" and np.isnan(column).any():
        return f"case when isnan({_name(name)}) then null else {_name(name)} end"
    return _name(name)


def _plain(column: np.ndarray | Coded) -> np.ndarray:
    array = column.codes if isinstance(column, Coded) else column
    return np.ascontiguousarray(array.astype(object) if array.dtype.kind == "U" else array)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
