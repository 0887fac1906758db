"""Steepness near examples, maps over pixels, and what each component amplifies."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sensijax.sensitivity as s
from sensijax.core import ArgumentError, Model
from sensijax.sensitivity.derivatives._clever import end_point

A = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
X = jnp.asarray(np.random.default_rng(1).standard_normal((5, 6)), jnp.float32)
LINEAR = Model(lambda a, x: x @ a, jnp.asarray(A))


def test_linear_models_are_equally_steep_everywhere():
    found = s.local_lipschitz(LINEAR, X, 0.5, points=4)
    norm = np.linalg.norm(A, 2)
    np.testing.assert_allclose(found.at_example, norm, rtol=1e-5)
    np.testing.assert_allclose(found.steepest, norm, rtol=1e-5)
    assert (found.quotient <= norm * (1 + 1e-4)).all() and (found.quotient > 0).all() and len(found.frame()) == 5


def test_quadratics_are_steepest_at_the_rim():
    """|x|**2 / 2 has gradient x, of length |x| + radius at most."""
    found = s.local_lipschitz(lambda x: jnp.square(x).sum(axis=1, keepdims=True) / 2, X, 0.5, points=64)
    length = np.linalg.norm(X, axis=1)
    assert (found.steepest <= length + 0.5 + 1e-5).all() and (found.steepest > length + 0.15).all()
    assert (np.linalg.norm(found.where - np.asarray(X), axis=1) <= 0.5 + 1e-5).all()


def test_clever_is_exact_for_a_linear_model():
    for ball, dual in (("l2", 2), ("linf", 1)):
        found = s.clever(LINEAR, X, 9.0, ball=ball, batches=10, batch_size=2)
        logits = np.asarray(X @ A)
        c = logits.argmax(axis=1)
        for b in range(5):
            rest = [k for k in range(3) if k != c[b]]
            distance = [(logits[b, c[b]] - logits[b, k]) / np.linalg.norm(A[:, c[b]] - A[:, k], dual) for k in rest]
            np.testing.assert_allclose(found.targeted[b, rest], distance, rtol=1e-4)
            np.testing.assert_allclose(found.score[b], min(distance), rtol=1e-4)
        assert np.isnan(found.p_value).all() and len(found.frame()) == 5


def test_clever_estimates_the_largest_gradient_in_the_ball():
    def bowl(x):
        return jnp.stack([jnp.square(x).sum(axis=1) / 2 + 10, jnp.zeros(len(x))], axis=1)

    found = s.clever(bowl, X[:2, :2], 1.0, batches=50, batch_size=16)
    length = np.linalg.norm(X[:2, :2], axis=1)
    np.testing.assert_allclose(found.lipschitz[:, 1], length + 1, rtol=0.05)
    assert (found.lipschitz[:, 1] >= found.observed[:, 1]).all() and (found.score == 1.0).all(), (
        "no further than the ball"
    )


def test_end_points_of_reverse_weibull_samples():
    """Over 20 samples of 200 maxima with end point 2, the mean estimate is within 0.03 of it; its spread is 0.02."""
    rng = np.random.default_rng(0)
    found = [end_point(2 - 0.5 * (-np.log(rng.uniform(size=200))) ** (1 / 3)) for _ in range(20)]
    assert abs(np.mean([end for end, _ in found]) - 2) < 0.03
    assert sum(p < 0.01 for _, p in found) <= 1
    assert end_point(np.full(20, 3.0))[0] == 3 and np.isnan(end_point(np.full(20, 3.0))[1])


def test_maps_are_slices_of_the_jacobian():
    w = jnp.asarray(np.random.default_rng(2).standard_normal((8 * 8 * 2, 3)), jnp.float32)
    model = Model(lambda w, x: jnp.tanh(x.reshape(len(x), -1) @ w), w)
    x = jnp.asarray(np.random.default_rng(3).uniform(0, 0.1, (3, 8, 8, 2)), jnp.float32)
    found = s.sensitivity_map(model, x, (2, 2), chunk=2)
    j = s.jacobian(model, x, batched=True).value
    np.testing.assert_allclose(found.features, np.sqrt(np.square(j).sum(axis=1)), rtol=1e-4)
    np.testing.assert_allclose(found.pixels, np.sqrt(np.square(j).sum(axis=(1, 4))), rtol=1e-4)
    corner = j[:, :, :4, 4:].reshape(3, 3, -1)
    np.testing.assert_allclose(found.spectral[:, 1], [np.linalg.norm(c, 2) for c in corner], rtol=1e-4)
    np.testing.assert_allclose(found.frobenius[:, 1], [np.linalg.norm(c) for c in corner], rtol=1e-4)
    np.testing.assert_allclose(found.share.sum(axis=1), 1, rtol=1e-6)
    assert len(found.frame()) == 12 and found.size.tolist() == [16] * 4
    own = np.zeros((8, 8), int)
    own[2:, 3:] = 1
    np.testing.assert_allclose(
        s.sensitivity_map(model, x, own).frobenius[:, 1],
        np.linalg.norm(j[:, :, 2:, 3:].reshape(3, -1), axis=1),
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    "call, message",
    [(lambda: s.local_lipschitz(LINEAR, X, 0.0), "a number > 0"),
     (lambda: s.local_lipschitz(LINEAR, X, 1.0, bounds=(0, 1)), "values in `bounds`"),
     (lambda: s.local_lipschitz(lambda x: x[..., None], X, 1.0), r"outputs \[B, K\]"),
     (lambda: s.clever(LINEAR, X, 1.0, batches=2), "at least 10"),
     (lambda: s.clever(LINEAR, X, 1.0, ball="l1"), "linf"),
     (lambda: s.sensitivity_map(LINEAR, X), "images"),
     (lambda: s.sensitivity_map(lambda x: x.mean(axis=(1, 2)), jnp.ones((1, 4, 4, 1)), (5, 1)), "4 x 4"),
     (lambda: s.component_gains(LINEAR, X, X), "a perturbation that acts"),
     (lambda: s.component_gains(LINEAR, X, X[:2]), "the same examples"),
     (lambda: s.tap("", X), "non-empty"),
     (lambda: s.captured(nn.Dense(3), X), "module.bind")],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def tapped(x):
    h = s.tap("first", 3 * x)
    h = jax.jit(lambda h: s.tap("jitted", jax.nn.relu(h)))(h)
    h = jax.checkpoint(lambda h: s.tap("first", h + 1))(h)
    return h.sum(axis=1)


def test_a_tap_changes_nothing_and_is_found_wherever_it_is():
    out, seen = s.captured(tapped, X)
    assert list(seen) == ["first", "jitted", "first#1"]
    np.testing.assert_array_equal(seen["jitted"], jax.nn.relu(3 * X))
    np.testing.assert_array_equal(seen["first#1"], jax.nn.relu(3 * X) + 1)
    np.testing.assert_array_equal(out, tapped(X))
    bare = lambda x: (jax.nn.relu(3 * x) + 1).sum(axis=1)  # noqa: E731
    np.testing.assert_array_equal(jax.vmap(jax.grad(lambda v: tapped(v[None])[0]))(X), jnp.where(X > 0, 3.0, 0.0))
    np.testing.assert_array_equal(jax.jit(tapped)(X), jax.jit(bare)(X))
    with pytest.raises(ArgumentError, match="inside a scan"):
        s.captured(lambda x: jax.lax.scan(lambda c, _: (s.tap("loop", c * 2), None), x, None, length=3)[0], X)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.inner = nnx.Sequential(nnx.Linear(6, 4, rngs=rngs), nnx.relu)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(self.inner(x))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2, name="head")(nn.relu(nn.Dense(4, name="inner")(x)))


def test_components_of_flax_modules():
    net = Net(nnx.Rngs(0))
    out, seen = s.captured(net, X)
    assert list(seen) == ["inner.layers.0", "inner", "head"]
    np.testing.assert_allclose(seen["inner"], net.inner(X), rtol=1e-6)
    np.testing.assert_allclose(out, net(X), rtol=1e-6)
    assert type(net.head) is nnx.Linear, "the module is as it was"
    module = LinenNet()
    variables = module.init(jax.random.key(0), X)
    out, seen = s.captured(module.bind(variables), X)
    assert set(seen) == {"inner", "head"}
    np.testing.assert_allclose(seen["head"], out)
    np.testing.assert_allclose(out, module.apply(variables, X), rtol=1e-6)
    _, products = s.captured(Model(lambda a, x: jnp.tanh(x @ a) @ a.T, jnp.asarray(A)), X)
    assert list(products) == ["dot_general", "dot_general#1"]


def test_gains_of_a_known_amplifier():
    scale = jnp.array([[10.0, 1.0, 1.0, 1.0, 1.0, 1.0]])

    def zoom(x):
        return s.tap("half", s.tap("zoom", x * scale) / 2).sum(axis=1)

    moved = X.at[:, 0].add(0.01)
    found = s.component_gains(zoom, X, moved)
    big = np.linalg.norm(X * scale, axis=1)
    expected = np.exp(np.mean(np.log(0.1 / big / (0.01 / np.linalg.norm(X, axis=1)))))
    assert found.names == ("input", "zoom", "half", "output") and found.n == 5
    np.testing.assert_allclose(found.gain[:3], [1, expected, expected], rtol=1e-3)
    np.testing.assert_allclose(found.step[2], 1, rtol=1e-4)
    assert found.gain_low[1] <= found.gain[1] <= found.gain_high[1]
    assert found.cka[1] > 0.99 and list(found.frame().component) == list(found.names)


def test_cka_is_debiased():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((30, 5))
    q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    np.testing.assert_allclose(s.linear_cka(a, 2 * a @ q + 1), 1)
    # Plain CKA of unrelated wide representations is near 1; this one has mean 0. 100 pairs, five standard errors.
    unrelated = [s.linear_cka(*rng.standard_normal((2, 20, 200))) for _ in range(100)]
    assert abs(np.mean(unrelated)) < 5 * np.std(unrelated) / 10
    assert np.isnan(s.linear_cka(a[:3], a[:3])) and np.isnan(s.linear_cka(a * 0, a))
