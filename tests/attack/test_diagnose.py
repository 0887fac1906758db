"""Twelve broken defences are flagged, each by the flag that says what is wrong; five honest models are not."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sensijax import attack, demo
from sensijax.attack.flags._probe import Bench
from sensijax.core import ArgumentError, Model
from sensijax.data import digits, split
from sensijax.perturb import image

N, EPS, LOOP = 96, 0.08, attack.Loop(64, 1, False)  # as many rows as a diagnosis tries: its programs
PGD = attack.PGD(eps=EPS, steps=20)
# Honest models, and losses that hang on float32's last bits, are compiled as users do.
EXCEPT = ("test_honest_models", "test_a_saturated", "logits x 1000", "tiny temperature", "shattered gradients")


# --- honest models ----------------------------------------------------------------------------------------------------


def linear(p, x):
    return x.reshape(len(x), -1) @ p["w0"] + p["b0"][None]


def mlp(p, x):
    h = jax.nn.relu(x.reshape(len(x), -1) @ p["w0"] + p["b0"][None])
    return h @ p["w1"] + p["b1"][None]


def conv(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def max_pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def normalised(x, mean, variance, p):
    return (x - mean[None, None, None]) / jnp.sqrt(variance + 1e-5)[None, None, None] * p["gain"][None, None, None]


def convolutional(p, x):
    """Batch norm by running statistics, max-pooling."""
    h = normalised(conv(x, p["k0"]), p["mean"], p["variance"], p)
    h = max_pool(jax.nn.relu(h))
    return h.reshape(len(x), -1) @ p["w0"] + p["b0"][None]


def convolutional_in_training(p, x):
    """The same by the statistics of the batch."""
    h = conv(x, p["k0"])
    h = max_pool(jax.nn.relu(normalised(h, h.mean(axis=(0, 1, 2)), h.var(axis=(0, 1, 2)), p)))
    return h.reshape(len(x), -1) @ p["w0"] + p["b0"][None]


def with_input_normalised(p, x):
    h = max_pool(jax.nn.relu(conv((x - 0.3) / 0.38, p["k0"])))
    return h.reshape(len(x), -1) @ p["w0"] + p["b0"][None]


def drawn(shapes):
    rng = np.random.default_rng(0)
    return {
        name: jnp.asarray(
            rng.standard_normal(shape) * (2 / max(1, np.prod(shape[:-1]))) ** 0.5 * (len(shape) > 1), jnp.float32
        )
        for name, shape in shapes.items()
    }


def fit(apply, params, train, steps=150, batch=128, eps=0.0):
    """Adam; with `eps`, on examples of one step of adversarial training."""
    optimizer = optax.adam(3e-3)

    def loss(p, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(apply(p, x), y).mean()

    @jax.jit
    def step(p, moments, x, y):
        if eps:
            x = jnp.clip(x + eps * jnp.sign(jax.grad(loss, 1)(p, x, y)), 0.0, 1.0)
        updates, moments = optimizer.update(jax.grad(loss)(p, x, y), moments, p)
        return optax.apply_updates(p, updates), moments

    rng = np.random.default_rng(0)
    with jax.numpy_dtype_promotion("standard"):
        moments = jax.jit(optimizer.init)(params)
        for _ in range(steps):
            rows = rng.integers(0, len(train), batch)
            params, moments = step(params, moments, train.x[rows], train.y[rows])
    return params


@functools.cache
def data():
    train, test = split(digits(8))
    return train, test.take(slice(N))


@functools.cache
def base():
    """The network that all defences stand before."""
    return fit(mlp, drawn({"w0": (64, 64), "b0": (64,), "w1": (64, 10), "b1": (10,)}), data()[0])


@functools.cache
def trained_with_batch_norm():
    p = drawn({"k0": (3, 3, 1, 8), "w0": (128, 10), "b0": (10,)}) | {"gain": jnp.ones(8)}
    p = fit(convolutional_in_training, p, data()[0])
    h = jax.jit(conv)(data()[0].x, p["k0"])
    return p | {"mean": h.mean(axis=(0, 1, 2)), "variance": h.var(axis=(0, 1, 2))}


def demonstration():
    return demo.load(), demo.data().take(slice(N))


HONEST = {
    "the demonstration's network": demonstration,
    "a linear model": lambda: Model(linear, fit(linear, drawn({"w0": (64, 10), "b0": (10,)}), data()[0])),
    "two layers": lambda: Model(mlp, base()),
    "batch norm and max-pooling": lambda: Model(convolutional, trained_with_batch_norm()),
    "adversarial training, normalised input": lambda: Model(
        with_input_normalised,
        fit(with_input_normalised, drawn({"k0": (3, 3, 1, 8), "w0": (128, 10), "b0": (10,)}), data()[0], eps=EPS),
    ),
}


# --- broken defences --------------------------------------------------------------------------------------------------


def before(preprocess):
    """A defence that changes the input."""
    return lambda: Model(lambda p, x: mlp(p, preprocess(x)), base())


def after(postprocess):
    """A defence that changes the logits."""
    return lambda: Model(lambda p, x: postprocess(mlp(p, x)), base())


def codec(x):
    jpeg = image.JPEG(quality=jnp.float32(60.0))
    return jax.vmap(lambda x: jpeg.apply(jax.random.key(0), x))(x)


def sparse(p, x):
    """Dropout at test time, of all features but the largest."""
    h = jax.nn.relu(x.reshape(len(x), -1) @ p["w0"] + p["b0"][None])
    kept = jax.random.bernoulli(jax.random.key(1), 0.7, h.shape) | (h == h.max(axis=1, keepdims=True))
    return jnp.where(kept, h / 0.7, jnp.float32(0)) @ p["w1"] + p["b1"][None]


def winners(p, x):
    """Of each four hidden features, which one is the largest, and nothing else."""
    h = (x.reshape(len(x), -1) @ p["w0"] + p["b0"][None]).reshape(len(x), 16, 4)
    one = jax.nn.one_hot(jnp.argmax(h, axis=2), 4) * h.max(axis=2, keepdims=True).round()
    return one.reshape(len(x), -1) @ p["w1"] + p["b1"][None]


def leaking():
    """Recognises the images that it is judged on, and knows their labels."""
    seen, labels = jnp.asarray(data()[1].x).reshape(N, -1), jnp.asarray(data()[1].y)

    def apply(p, x):
        nearest = jnp.argmin(((x.reshape(len(x), 1, -1) - seen[None]) ** 2).sum(axis=2), axis=1)
        return mlp(p, x) + 20 * jax.nn.one_hot(labels[nearest], 10)

    return Model(apply, base())


def not_a_number(logits):
    """No answer where the model is not sure."""
    top = jax.lax.top_k(logits, 2)[0]
    return jnp.where((top[:, 0] - top[:, 1] < 3)[:, None], jnp.float32(jnp.nan), logits)


BROKEN = {
    "logits x 1000": (after(lambda z: 1000 * z), {"saturated_loss"}),
    "tiny temperature": (after(lambda z: z / 0.002), {"saturated_loss"}),
    "input quantisation": (
        before(lambda x: jnp.round(x * 7) / 7), {"rounding", "zero_gradient", "blackbox_wins", "bpda_wins"}
    ),
    "random noise": (
        before(lambda x: x + 0.1 * jax.random.normal(jax.random.key(0), x.shape)), {"random_bits", "place_in_batch"}
    ),
    "softmax outputs": (after(jax.nn.softmax), {"probabilities"}),
    "gradient stopped before the network": (
        before(jax.lax.stop_gradient), {"stopped_gradient", "zero_gradient", "bpda_wins"}
    ),
    "JPEG": (before(codec), {"rounding"}),
    "dropout of what is not the largest": (lambda: Model(sparse, base()), {"random_bits", "place_in_batch"}),
    "argmax features": (lambda: Model(winners, base()), {"choice", "zero_gradient"}),
    "shattered gradients": (before(lambda x: x + 0.005 * jnp.sin(2000 * x)), {"useless_gradient"}),
    "label leak": (leaking, {"label_leak"}),
    "NaN logits": (after(not_a_number), {"nonfinite_logits"}),
}  # fmt: skip


def attacked(model, examples):
    return PGD(jax.random.key(0), model, examples.x, examples.y, loop=LOOP)


@pytest.mark.parametrize("name", HONEST)
def test_honest_models_are_not_flagged(name):
    found = HONEST[name]()
    model, examples = found if isinstance(found, tuple) else (found, data()[1])
    result = attacked(model, examples)
    assert result.diagnosed and result.flags == ()
    assert result.clean_accuracy > 0.85


@pytest.mark.parametrize("name", BROKEN)
def test_broken_defences_are_flagged(name):
    make, expected = BROKEN[name]
    result = attacked(make(), data()[1])
    flags = {flag.name: flag for flag in result.flags}
    assert expected <= set(flags)
    assert "at most" in result.summary()
    for flag in result.flags:
        assert flag.saw and (flag.severity, flag.why, flag.remedy)[1:] == attack.CATALOGUE[flag.name][1:]


# --- the other flags, each by what it is for --------------------------------------------------------------------------


@functools.cache
def plain():
    """What the attack finds on the network without a defence, not diagnosed."""
    test = data()[1]
    return PGD(jax.random.key(0), Model(mlp, base()), test.x, test.y, loop=LOOP, diagnose=False)


def found(model, result=None, by=PGD, x=None, y=None):
    """Flags of a model, of which an attack on the plain network speaks."""
    test = data()[1]
    x, y = test.x if x is None else x, test.y if y is None else y
    flags = attack.diagnose(jax.random.key(1), model, x, y, result or plain(), attack=by, queries=20)
    return {flag.name: flag for flag in flags}


def test_nobody_looks_unless_asked():
    assert plain().flags == () and not plain().diagnosed
    assert "nobody has looked" in plain().summary()


def test_the_same_key_finds_the_same():
    model = Model(lambda p, x: mlp(p, jnp.round(x * 7) / 7), base())
    first, second = (
        attack.diagnose(jax.random.key(1), model, data()[1].x, data()[1].y, plain(), attack=PGD, queries=20)
        for _ in range(2)
    )
    assert first == second and first


def test_a_saturated_loss_is_seen_before_any_verdict_hangs_on_it():
    """A budget within which no example can be broken: the gradients of unperturbed inputs are enough."""
    test = data()[1]
    small = attack.PGD(eps=1e-4, steps=20)
    result = small(jax.random.key(0), BROKEN["logits x 1000"][0](), test.x, test.y, loop=LOOP)
    assert [flag.name for flag in result.flags] == ["saturated_loss"]


def test_a_saturated_loss_is_less_grave_where_the_attack_has_others():
    model = BROKEN["logits x 1000"][0]()
    assert found(model)["saturated_loss"].severity == "distrust"
    flag = found(model, by=attack.PGD(eps=EPS, steps=20, loss=attack.losses.margin))["saturated_loss"]
    assert flag.severity == "caution" and flag.saw.endswith("PGD do not rest on it")


def test_it_costs_what_it_says(monkeypatch):
    """On 64 rows, with 20 queries in the place of 50: 30 passes less. What rounds adds 13, and 12 gradients."""
    counts = {"logits": 0, "probe": 0}
    for name in counts:
        method = getattr(Bench, name)

        def counted(self, x, name=name, method=method):
            assert len(x) == 64
            counts[name] += 1
            return method(self, x)

        monkeypatch.setattr(Bench, name, counted)
    found(Model(mlp, base()))
    assert counts == {"logits": 64 - 30, "probe": 22}
    counts.update(logits=0, probe=0)
    found(BROKEN["input quantisation"][0]())
    assert counts == {"logits": 64 - 30 + 13, "probe": 22}


def test_randomness_that_is_declared_is_no_flaw():
    def noisy(p, keys, x):
        return mlp(p, x + 0.1 * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys))

    assert attacked(attack.RandomModel(noisy, base(), draws=2), data()[1]).flags == ()


def test_train_mode():
    model = Model(convolutional_in_training, trained_with_batch_norm())
    flag = found(model)["batch_coupled"]
    assert flag.numbers["share"] > 0.9 and "place_in_batch" not in found(model)


def test_labels_tied_to_the_place_in_the_batch():
    labels = jnp.asarray(data()[1].y)
    model = Model(lambda p, x: mlp(p, x) + 20 * jax.nn.one_hot(labels[: len(x)], 10), base())
    assert {"label_leak", "place_in_batch"} <= set(found(model))


def test_answers_that_change_when_asked_again():
    rng = np.random.default_rng(0)

    def noise(logits):
        return jax.pure_callback(
            lambda z: z + rng.standard_normal(z.shape).astype(np.float32),
            jax.ShapeDtypeStruct(logits.shape, logits.dtype),
            logits,
        )

    flags = found(Model(lambda p, x: noise(mlp(p, x)), base()))
    assert {"random", "callback", "no_gradient"} <= set(flags)
    assert flags["random"].numbers["share"] == 1


def test_a_mark_that_nobody_sees():
    """The label is written into the input's last digits, and the model reads it."""
    test = data()[1]
    x = (np.round(test.x * 64) / 64 * 0.9).astype(np.float32)
    x[:, 0, 0, 0] = (0.25 + test.y / 4096).astype(np.float32)

    def read(p, x):
        return jax.nn.one_hot(jnp.round((x[:, 0, 0, 0] - 0.25) * 4096).astype(jnp.int32), 10) * 20 + mlp(p, x)

    assert found(Model(read, base()), x=x)["hidden_mark"].numbers["share"] > 0.5


def test_gradients_that_are_no_numbers():
    model = Model(lambda p, x: mlp(p, x) + jnp.sqrt(jnp.zeros_like(x)).sum() * 0 + jnp.sqrt(x * 0).sum(), base())
    assert found(model)["nonfinite_gradient"].numbers["share"] == 1


def test_bumps_wider_than_a_grey_level():
    model = Model(lambda p, x: mlp(p, x + 0.02 * jnp.sin(200 * x)), base())
    flags = found(model)
    assert "rugged_loss" in flags and "useless_gradient" not in flags


def test_numbers_that_end_under_attack_alone():
    """All unperturbed logits are finite: only a survivor that is pushed meets the NaN."""
    clean = jnp.min(jnp.sort(mlp(base(), jnp.asarray(data()[1].x)), axis=1)[:, -1])
    model = Model(
        lambda p, x: jnp.where(mlp(p, x).max(axis=1, keepdims=True) < clean - 0.01, jnp.float32(jnp.nan), mlp(p, x)),
        base(),
    )
    result = attacked(model, data()[1])
    assert (result.status != 3).all()
    assert "nonfinite_logits" in {flag.name for flag in result.flags}


def test_a_loss_that_needs_more_classes():
    p = base() | {"w1": base()["w1"][:, :3], "b1": base()["b1"][:3]}
    y = np.minimum(data()[1].y, 2)
    by = attack.PGD(eps=EPS, steps=20, loss=attack.losses.targeted_dlr)
    assert found(Model(mlp, p), by=by, y=y)["few_classes"].numbers["K"] == 3
    by = attack.PGD(eps=EPS, steps=20, loss=attack.losses.dlr)
    assert "few_classes" not in found(Model(mlp, p), by=by, y=y)


def test_steps_that_cannot_cross_the_ball():
    by = attack.PGD(eps=EPS, steps=20, step_size=EPS / 40)
    assert found(Model(mlp, base()), by=by)["short_steps"].numbers["reach"] == pytest.approx(0.5)
    by = attack.PGD(eps=EPS, steps=20, step_size=EPS / 10)
    assert found(Model(mlp, base()), by=by) == {}


def test_an_attack_that_stopped_too_early():
    test = data()[1]
    result = attack.PGD(eps=EPS, steps=2, step_size=EPS / 5, start=False)(
        jax.random.key(0), Model(mlp, base()), test.x, test.y, loop=LOOP
    )
    flags = {flag.name: flag for flag in result.flags}
    assert set(flags) >= {"still_rising", "short_steps"}
    assert flags["still_rising"].numbers["rise"] > 0.25 and flags["still_rising"].numbers["broken"] > 0.05


def forged(**changes):
    """The plain result with some of what it claims changed."""
    return dataclasses.replace(plain(), **changes)


def test_an_attack_that_went_nowhere():
    result = forged(strongest=plain().x)
    assert found(Model(mlp, base()), result)["no_progress"].numbers["share"] == 1


def test_an_attack_that_passed_over_what_was_nearer():
    broken = plain().status == 1
    result = forged(status=np.where(broken, 0, 2).astype(np.uint8))
    assert found(Model(mlp, base()), result)["not_monotone"].numbers["share"] == 1


def test_survivors_of_an_attack_without_a_budget():
    setting = dataclasses.replace(plain().setting, eps=np.float32(np.inf))
    flags = found(Model(mlp, base()), forged(setting=setting))
    assert flags["unbounded_survivors"].numbers["rows"] == plain().robust.sum()


def test_more_budget_must_not_break_fewer():
    less = plain()
    more = forged(
        status=np.where(np.arange(N) == np.flatnonzero(less.status == 1)[0], 0, less.status).astype(np.uint8),
        setting=dataclasses.replace(less.setting, eps=np.float32(0.1)),
    )
    assert attack.monotone([less, less]) == ()
    (flag,) = attack.monotone([less, more])
    assert flag.name == "not_monotone" and flag.saw == "1 examples are broken within 0.08 and robust within 0.1"
    with pytest.raises(ArgumentError, match="one order"):
        attack.monotone([less, forged(ids=less.ids[::-1])])


@pytest.mark.parametrize("norm, eps", [("l2", 0.4)])
def test_honest_in_other_norms(norm, eps):
    test = data()[1]
    result = attack.PGD(eps=eps, norm=norm, steps=40)(jax.random.key(0), Model(mlp, base()), test.x, test.y, loop=LOOP)
    assert result.flags == ()


def test_a_budget_so_small_that_a_sure_model_is_robust():
    """Where the logits lead by 20 the cross-entropy's gradient is rounded, and no verdict hangs on it."""
    test = data()[1]
    result = attack.PGD(eps=0.002, steps=20)(
        jax.random.key(0), Model(lambda p, x: 4 * mlp(p, x), base()), test.x, test.y, loop=LOOP
    )
    assert result.flags == () and result.robust_accuracy > 0.9


@pytest.mark.parametrize("rows", [[0], []])
def test_few_examples_are_enough_to_look(rows):
    """One example; none that is classified correctly."""
    test = data()[1]
    x, y = (test.x[rows], test.y[rows]) if rows else (test.x[:5], (test.y[:5] + 1) % 10)
    result = PGD(jax.random.key(0), Model(mlp, base()), x, y, loop=LOOP)
    assert result.diagnosed and result.flags == ()


def test_what_is_diagnosed_must_be_what_was_attacked():
    test = data()[1]
    with pytest.raises(ArgumentError, match="examples"):
        attack.diagnose(jax.random.key(0), Model(mlp, base()), test.x[:5], test.y[:5], plain())
    with pytest.raises(ArgumentError, match="setting"):
        attack.diagnose(jax.random.key(0), Model(mlp, base()), test.x, test.y, forged(setting=None))


def test_every_flag_is_explained():
    page = (pathlib.Path(__file__).parents[2] / "docs/howto/read-robust-accuracy.md").read_text()
    for name in attack.CATALOGUE:
        assert f"| `{name}` |" in page, name
