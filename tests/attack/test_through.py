"""Attacks through a perturbation: the exact optimum where it is known, and every find made again from its key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.core import ArgumentError, Model
from sensijax.perturb import Perturbation, chain, image, interpolate

LOOP = attack.Loop(16, 8, False)
N = 12


class Hump(Perturbation):
    """Adds `0.1 s (5 - s)` at severity s: the worst is in the middle of the scale."""

    s: jax.Array
    deterministic = True

    @classmethod
    def at(cls, severity):
        return cls(s=jnp.asarray(severity, jnp.float32))

    def is_identity(self):
        return self.s == 0

    def apply(self, key, x):
        return x + 0.1 * self.s * (5 - self.s)


class Dust(Perturbation):
    """Adds a random value in [0, `most`]."""

    most: jax.Array

    @classmethod
    def at(cls, severity):
        return cls(most=interpolate(severity, (0, 0.2, 0.3, 0.4, 0.5, 0.6)))

    def is_identity(self):
        return self.most == 0

    def apply(self, key, x):
        return x + self.most * jax.random.uniform(key, (), jnp.float32)


class Lift(Perturbation):
    """Adds 0.1 a severity."""

    by: jax.Array
    deterministic = True

    @classmethod
    def at(cls, severity):
        return cls(by=interpolate(severity, (0, 0.1, 0.2, 0.3, 0.4, 0.5)))

    def is_identity(self):
        return self.by == 0

    def apply(self, key, x):
        return x + self.by


class Darken(Perturbation):
    """Takes away 0.1 a severity."""

    by: jax.Array
    deterministic = True

    @classmethod
    def at(cls, severity):
        return cls(by=interpolate(severity, (0, 0.1, 0.2, 0.3, 0.4, 0.5)))

    def is_identity(self):
        return self.by == 0

    def apply(self, key, x):
        return x - self.by


def threshold_logits(p, x):
    return jnp.stack([jnp.zeros(len(x)) + p, x.mean((1, 2, 3))], axis=1)


def of_threshold(threshold):
    """Class 1 where the mean is above a threshold."""
    return Model(threshold_logits, np.float32(threshold))


X = np.linspace(0.0, 0.22, N, dtype=np.float32)[:, None, None, None] + np.zeros((1, 8, 8, 1), np.float32)
Y = np.zeros(N, np.int64)


def run(one, model, rows=slice(None)):
    ids = np.arange(N)[rows]
    return one(jax.random.key(2), model, X[rows], Y[rows], ids=ids, loop=LOOP, diagnose=False)


def test_the_gradient_finds_a_worst_severity_inside_the_scale():
    # At severity 5 nothing is added; the most is 0.625, at 2.5, and only the last three examples need no more.
    model, one = of_threshold(0.8), attack.Through(eps=5.0, scale=Hump, draws=3, steps=20)
    result = run(one, model)
    reachable = X.mean((1, 2, 3)) + 0.625 > 0.8
    np.testing.assert_array_equal(~result.robust, reachable)
    assert np.abs(result.severity[reachable] - 2.5).max() < 0.7
    assert run(attack.Through(eps=5.0, scale=Hump, draws=3, steps=0), model).robust_accuracy == 1
    assert (result.distance[reachable] == result.severity[reachable, 0]).all()


def test_a_budget_bounds_the_severity():
    result = run(attack.Through(eps=1.0, scale=Hump, draws=2, steps=5), of_threshold(0.5))
    np.testing.assert_array_equal(~result.robust, X.mean((1, 2, 3)) + 0.4 > 0.5)
    assert (result.severity <= 1).all()


def test_fields_are_drawn_anew_in_each_attempt_and_found_again():
    model = of_threshold(0.25)
    few, many = (run(attack.Through(eps=1.0, scale=Dust, draws=k, steps=0), model) for k in (1, 12))
    assert many.robust.sum() < few.robust.sum() < N
    assert (few.robust | ~many.robust).all()  # the first field is the same: what it breaks stays broken
    judge = jax.jit(model.apply)
    for i in np.flatnonzero(~many.robust):
        again = many.perturbation(i)(many.key(i), jnp.asarray(X[i]))
        np.testing.assert_allclose(again, many.x_adv[i], atol=1e-6)
        assert int(np.argmax(judge(model.params, again[None]))) == 1


def test_parameters_apart_reach_what_the_scale_does_not():
    # Together, what is added and what is taken away cancel; apart, only the first is used.
    scale = chain(Lift, Darken)
    model = of_threshold(0.45)
    together, apart = (
        run(attack.Through(eps=5.0, scale=scale, draws=3, steps=10, apart=a, box=(-1.0, 2.0)), model)
        for a in (False, True)
    )
    assert together.robust_accuracy == 1
    assert apart.robust_accuracy < 0.5
    assert apart.severity.shape == (N, 2)
    broken = np.flatnonzero(~apart.robust)
    assert (apart.severity[broken, 0] > apart.severity[broken, 1]).all()
    i = broken[0]
    again = apart.perturbation(i)(apart.key(i), jnp.asarray(X[i]))
    np.testing.assert_allclose(again, apart.x_adv[i], atol=1e-6)


def test_a_row_does_not_depend_on_the_others():
    one, model, rows = attack.Through(eps=1.0, scale=Dust, draws=12, steps=0), of_threshold(0.25), np.array([9, 1, 4])
    whole, part = run(one, model), run(one, model, rows)
    np.testing.assert_array_equal(part.x_adv, whole.x_adv[rows])
    np.testing.assert_array_equal(part.key_data, whole.key_data[rows])


def test_what_leaves_the_box_never_counts():
    result = run(attack.Through(eps=5.0, scale=Hump, draws=1, steps=0, box=(0.0, 0.23)), of_threshold(0.9))
    assert result.robust_accuracy == 1
    inside = run(attack.Through(eps=2.5, scale=Hump, draws=1, steps=0, box=(0.0, 0.23)), of_threshold(0.5))
    assert inside.robust_accuracy == 1


def test_bad_arguments_are_refused():
    for fields, words in (
        ({"scale": None}, "at.severity"),
        ({"scale": image.Brightness.at(3)}, "class"),
        ({"scale": Hump, "draws": 0}, "draws"),
        ({"scale": Hump, "norm": "l2"}, "severity"),
    ):
        with pytest.raises(ArgumentError, match=words):
            attack.Through(eps=1.0, **fields)
    with pytest.raises(ArgumentError, match="eps"):
        run(attack.Through(eps=5.5, scale=Hump), of_threshold(0.5))
