"""Flat rows: every row once, in chunks of one shape; the same values whatever the chunk."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError, chunks, key_for, map_variants
from sensijax.core.rows import LARGEST, fitting_chunk
from sensijax.perturb import image


@pytest.mark.parametrize("total", [0, 1, 2, 3, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 12, 100])
def test_chunks_cover_every_row_once_in_order(total, size):
    found = list(chunks(total, size))
    assert [len(chunk.rows) for chunk in found] == [size] * len(found)
    covered = [row for chunk in found for row in chunk.rows[: chunk.valid].tolist()]
    assert covered == list(range(total))
    assert all(1 <= chunk.valid <= size and (chunk.rows < total).all() for chunk in found)


def test_a_row_stands_at_the_same_place_whatever_follows():
    assert [c.rows.tolist() for c in chunks(12, 5)][:2] == [c.rows.tolist() for c in chunks(10, 5)]


@pytest.mark.parametrize("size", [0, -1])
def test_an_empty_chunk_is_refused(size):
    with pytest.raises(ArgumentError, match="`size`"):
        list(chunks(3, size))


def perturbed(variant, example):
    return {"x": variant(example["key"], example["x"]), "mean": jnp.mean(example["x"])}


@pytest.fixture(scope="module")
def sweep():
    rng = np.random.default_rng(0)
    examples = {"key": key_for(0, "noise", np.arange(7)), "x": jnp.asarray(rng.random((7, 8, 8, 1), np.float32))}
    return image.GaussianNoise.at(jnp.array([0.0, 1.0, 5.0])), examples


def test_map_variants_is_the_nested_loop(sweep):
    variants, examples = sweep
    out = map_variants(perturbed, variants, examples, chunk=4)
    assert out["x"].shape == (3, 7, 8, 8, 1) and out["mean"].shape == (3, 7)
    for v in range(3):
        for n in range(7):
            alone = perturbed(
                jax.tree.map(lambda leaf, v=v: leaf[v], variants), jax.tree.map(lambda leaf, n=n: leaf[n], examples)
            )
            np.testing.assert_allclose(out["x"][v, n], alone["x"], rtol=0, atol=1e-6)
            np.testing.assert_allclose(out["mean"][v, n], alone["mean"], rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 300])
def test_any_chunk_gives_the_same_values(sweep, chunk):
    reference = map_variants(perturbed, *sweep, chunk=4)["x"]
    np.testing.assert_allclose(map_variants(perturbed, *sweep, chunk=chunk)["x"], reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("v", "n"), [(1, 1), (3, 7), (10, 40)])
def test_one_program_is_traced_however_many_rows(v, n):
    traces = []

    def function(variant, example):
        traces.append(None)
        return variant * example

    out = map_variants(function, jnp.arange(float(v)), jnp.arange(float(n)), chunk=6)
    np.testing.assert_array_equal(out, np.multiply.outer(np.arange(float(v)), np.arange(float(n))))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("variants", "examples", "chunk", "argument"),
    [
        (np.zeros(0), np.zeros(2), 4, "variants"),
        (np.zeros(2), np.zeros(0), 4, "examples"),
        (1.0, np.zeros(2), 4, "variants"),
        (np.zeros(2), {"a": np.zeros(2), "b": np.zeros(3)}, 4, "examples"),
        (np.zeros(2), np.zeros(2), 0, "chunk"),
    ],
)
def test_bad_input_is_refused_by_name(variants, examples, chunk, argument):
    with pytest.raises(ArgumentError) as caught:
        map_variants(lambda v, x: v * x, variants, examples, chunk=chunk)
    assert caught.value.argument == argument


class Counted:
    """What a compiled program says of its memory: `each` bytes a row, and some for itself."""

    def __init__(self, rows, each, fixed):
        self.rows, self.used = rows, each * rows + fixed

    def memory_analysis(self):
        return types.SimpleNamespace(temp_size_in_bytes=self.used - 4 * self.rows, output_size_in_bytes=4 * self.rows)


@pytest.mark.parametrize(("each", "fixed"), [(4, 0), (100, 0), (100, 700), (999, 1), (1000, 0)])
def test_an_automatic_chunk_is_the_longest_within_the_budget_or_nearly(each, fixed):
    chunk, program = fitting_chunk(lambda rows: Counted(rows, each, fixed), rows=1000, memory=1000)
    longest = min(LARGEST, (1000 - fixed) // each)
    assert program.rows == chunk and program.used <= 1000 and longest / 4 <= chunk <= longest


def test_a_row_beyond_the_budget_is_refused_with_what_it_needs():
    with pytest.raises(ArgumentError, match="one row needs 1,001 bytes"):
        fitting_chunk(lambda rows: Counted(rows, 1000, 1), rows=9, memory=1000)
    with pytest.raises(ArgumentError, match="`memory`"):
        map_variants(lambda v, x: jnp.zeros(1000) + v * x, jnp.arange(2.0), jnp.arange(3.0), memory=3999)


def test_the_compilers_own_count_stays_within_the_budget(sweep):
    seen = []

    def function(variant, example):
        seen.append(None)
        return perturbed(variant, example)

    whole = map_variants(perturbed, *sweep, chunk=21)["x"]
    row = 8 * 8 * 4
    out = map_variants(function, *sweep, memory=8 * row)["x"]  # a program of all 21 rows holds at least 21 images
    assert len(seen) == 2
    np.testing.assert_allclose(out, whole, rtol=0, atol=1e-6)
