"""Square: published sizes, every candidate within ball and box, draws of each row's own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.attack import Goal, Victim
from sensijax.attack._window import Window, bump
from sensijax.core import ArgumentError, Model

B, SHAPE = 8, (9, 7, 2)
EPS = {"linf": 0.1, "l2": 1.0, "l1": 4.0}


def linear(w, x):
    score = x.reshape(len(x), -1) @ w
    return jnp.stack([jnp.zeros_like(score), score - 3], axis=1)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    w = jnp.asarray(0.1 * rng.normal(size=int(np.prod(SHAPE))), jnp.float32)
    return Model(linear, w, name="linear"), rng.uniform(size=(B, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module", params=["linf", "l2", "l1"])
def search(request, problem):
    """(norm, candidates `[steps, B, ...]`, margins of the best `[steps, B]`) of 40 steps, and of the rows reversed."""
    model, x = problem
    one = attack.Square(eps=jnp.full(B, EPS[request.param], jnp.float32), norm=request.param)
    victim = Victim.of(model)
    begin = jax.jit(one.begin)
    advance = jax.jit(lambda goal, state: dataclasses.replace(one.advance(victim, goal, state), step=state.step + 1))
    keys = np.random.default_rng(1).integers(0, 2**32, (B, 2), dtype=np.uint32)
    runs = []
    for order in (slice(None), slice(None, None, -1)):
        goal = Goal(
            jnp.asarray(x[order]), jnp.zeros(B, jnp.int32), jnp.full(B, -1, jnp.int32), jnp.asarray(keys[order])
        )
        state, candidates, margins = begin(goal), [], []
        for _ in range(40):
            candidates.append(np.asarray(state.x)[order])
            state = advance(goal, state)
            margins.append(np.asarray(state.best_margin)[order])
        runs.append((np.stack(candidates), np.stack(margins)))
    return request.param, *runs[0], runs[1][0]


def test_every_candidate_is_within_ball_and_box(search, problem):
    norm, candidates, _, _ = search
    delta = (candidates - problem[1][None]).reshape(40, B, -1).astype(np.float64)
    size = {"linf": np.abs(delta).max(-1), "l2": np.sqrt((delta**2).sum(-1)), "l1": np.abs(delta).sum(-1)}[norm]
    assert size.max() <= EPS[norm] * (1 + 1e-5)
    assert size.max() > 0.9 * EPS[norm]
    assert candidates.min() >= 0
    assert candidates.max() <= 1


def test_the_margin_never_falls_and_rises_in_the_end(search):
    _, _, margins, _ = search
    assert (np.diff(margins, axis=0) >= 0).all()
    assert (margins[-1] > margins[0]).mean() > 0.5


def test_a_row_draws_the_same_whatever_its_companions(search):
    _, candidates, _, reversed_ = search
    assert (candidates == reversed_).all()
    assert (candidates[3, 0] != candidates[3, 1]).any()


@pytest.mark.parametrize(
    "norm, image, least, expected",
    [
        ("linf", (32, 32), 1, [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]),
        ("linf", (28, 28), 1, [25, 18, 13, 9, 6, 4, 3, 2, 2, 1]),
        ("l2", (32, 32), 3, [29, 21, 15, 11, 7, 5, 5, 3, 3, 3]),
    ],
)
def test_the_sides_of_the_squares_are_the_published_ones(norm, image, least, expected):
    """round(sqrt(p h w)) with p = 0.8 halved after 10, 50, 200, ... queries; odd and at least 3 in L2."""
    steps = jnp.array([0, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001])
    one = attack.Square(eps=0.1, norm=norm)
    assert one.sides(image, steps, least)[0].tolist() == expected
    assert one.sides(image, steps - 1, least)[0].tolist() == [expected[0], *expected[:-1]]
    short = attack.Square(eps=0.1, norm=norm, queries=500, rescale=True)
    assert short.sides(image, jnp.array([499]), least)[0].tolist() == expected[-1:]


def test_every_place_is_equally_likely():
    uniform = jax.random.uniform(jax.random.key(0), (4000, 2))
    size = jnp.full(4000, 2, jnp.int32)
    window = Window.somewhere(uniform, size, size, (5, 4))
    counts = np.bincount(np.asarray(window.top) * 3 + np.asarray(window.left), minlength=12)
    assert len(counts) == 12
    # Chi-squared with 11 degrees of freedom: beyond 31.3 once in a thousand seeds.
    assert ((counts - 4000 / 12) ** 2 / (4000 / 12)).sum() < 31.3


@pytest.mark.parametrize("power, size", [(2, lambda d, a: jnp.sqrt(jnp.sum(d**2, a, keepdims=True)))])
def test_a_bump_is_two_pyramids_of_opposite_signs_and_size_one(power, size):
    two = jnp.array([1, 2], jnp.int32)
    window = Window(two, two, jnp.full(2, 5, jnp.int32), jnp.full(2, 5, jnp.int32))
    bumps = jax.jit(lambda window, turned: bump(window, turned, (9, 9), power, size))
    upright, turned = np.asarray(bumps(window, jnp.array([False, True])))
    np.testing.assert_allclose((upright**2).sum(), 1, rtol=1e-5)
    assert (upright[:, :1] == 0).all()
    assert (upright[1:3, 1:6] > 0).all()
    assert (upright[3:6, 1:6] < 0).all()
    assert np.unravel_index(upright.argmax(), upright.shape) == (2, 3)
    # The height over its middle: 1 + 1/4 + 1/9 at the top of a pyramid that ends 3 pixels away, 1/4 + 1/9 beside it.
    np.testing.assert_allclose(upright[2, 3] / upright[2, 4], (1 + 1 / 4 + 1 / 9) / (1 / 4 + 1 / 9), rtol=1e-5)
    np.testing.assert_allclose(turned[2:7, 2:7], upright[1:6, 1:6].T, atol=1e-7)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_model_without_gradients_is_no_obstacle(ball, norm):
    stepped = dataclasses.replace(ball.model, params=ball.model.params | {"hard": jnp.bool_(True)})
    eps = {"linf": 0.15, "l2": 0.5, "l1": 1.6}[norm]
    one = attack.Square(eps=eps, norm=norm, queries=200)
    result = one(jax.random.key(0), stepped, ball.x, ball.y, loop=attack.Loop(16, 8, False), diagnose=False)
    assert result.robust.mean() < 0.5
    assert result.backwards.max() == 0


def test_channels_may_come_first(problem):
    model, x = problem
    first = Model(lambda w, x: linear(w, jnp.moveaxis(x, 1, 3)), model.params, name="channels first")
    y, loop = np.zeros(B, np.int64), attack.Loop(B, 4, False)
    last = attack.Square(eps=0.02, queries=8)(jax.random.key(0), model, x, y, loop=loop, diagnose=False)
    moved = attack.Square(eps=0.02, queries=8, axes=(1, 2))(
        jax.random.key(0), first, np.moveaxis(x, 3, 1), y, loop=loop, diagnose=False
    )
    assert (np.moveaxis(moved.strongest, 1, 3) == last.strongest).all()


@pytest.mark.parametrize("options", [{"queries": 0}, {"p": 0.0}, {"p": 1.5}])
def test_options_are_checked(options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        attack.Square(eps=0.1, **options)
