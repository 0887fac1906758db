"""As strong as a bound allows: never beyond it, close to it, and each example for itself."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sensijax as sj
from sensijax.core import ArgumentError, stack
from sensijax.perturb import Perturbation, chain, image, interpolate
from sensijax.perturb.image.bounded import METRICS

ROWS, SHAPE = 24, (24, 22, 3)
BOUNDS = {"psnr": 24.0, "ssim": 0.85, "ms_ssim": 0.9, "l2": 3.0, "linf": 0.12}
run = jax.jit(lambda op, key, x: op(key, x))
strongest = jax.jit(lambda made, key, x: made.strongest(key, x))
OPS = {"ssim": image.Fog, "psnr": image.GaussianBlur, "l2": image.GaussianNoise, "linf": image.Contrast}


def pictures(rows=ROWS, shape=SHAPE, seed=0):
    """Waves with an edge; the second is black, the third grey: on it some operations do nothing at all."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / shape[0]
    wave = rng.uniform(1, 4, (rows, 1, 1, shape[2])) * (x + y)[..., None]
    out = 0.5 + rng.uniform(0.1, 0.3, (rows, 1, 1, 1)) * np.sin(2 * np.pi * wave) + 0.2 * (x > 0.5)[..., None]
    out[1:2], out[2:3] = 0, 0.5
    return jnp.asarray(np.clip(out, 0, 1), jnp.float32)


X, KEYS = pictures(), jax.random.split(jax.random.key(0), ROWS)


def bounds_of(name):
    argument = "at_least" if METRICS[name].high_is_close else "at_most"
    return {argument: BOUNDS[name]}


@functools.cache
def found(name):
    """One operation under one metric: the bounded perturbation, its images and severities, computed as one batch."""
    options = {} if name == "linf" else {"size": 32}  # contrast of the 32 px scale stays within the bound
    made = image.bounded(OPS[name], metric=name, **bounds_of(name), **options)
    program = jax.jit(jax.vmap(made.strongest))
    return made, program, *map(np.asarray, program(KEYS, X))


@pytest.mark.parametrize("name", OPS)
def test_every_image_is_within_the_bound_and_as_strong_as_it_may_be(name):
    made, _, out, severity = found(name)
    measured = jax.jit(jax.vmap(METRICS[name].measure))
    close, bound = METRICS[name].high_is_close, np.float32(BOUNDS[name])
    at = np.asarray(measured(X, out))
    assert (at >= bound if close else at <= bound).all()
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
    assert (severity >= 0).all() and (severity <= 5).all() and ((severity > 0.01) & (severity < 4.99)).sum() >= 12
    options = dict(made.options)
    stronger = jax.jit(jax.vmap(lambda s, k, v: OPS[name].at(s, **options)(k, v)))
    # A thousandth of a severity more is too much, except where the most there is is allowed.
    beyond = np.asarray(measured(X, stronger(jnp.minimum(severity + 1e-3, 5.0), KEYS, X)))
    inner = severity < 4.99
    assert (beyond < bound if close else beyond > bound)[inner].all()
    np.testing.assert_allclose(out, stronger(severity, KEYS, X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OPS)
def test_neither_place_nor_batch_size_changes_a_bit(name):
    made, program, out, severity = found(name)
    picked = np.random.default_rng(7).permutation(ROWS)[:7]
    some, severities = program(KEYS[picked], X[picked])
    np.testing.assert_array_equal(some, out[picked])
    np.testing.assert_array_equal(severities, severity[picked])
    for row in (0, 5):
        np.testing.assert_array_equal(run(made, KEYS[row], X[row]), out[row])


def test_a_stack_of_bounds_is_one_compilation():
    traces = 0

    def one(perturbation, key, x):
        nonlocal traces
        traces += 1
        return perturbation(key, x)

    scale = image.bounded(image.Contrast, metric="ssim")
    stacked = scale(at_least=jnp.array([1.0, 0.95, 0.9, 0.5]))
    program = jax.jit(jax.vmap(one, in_axes=(0, None, None)))
    out = program(stacked, KEYS[0], X[0])
    program(scale(at_least=np.array([0.99, 0.9, 0.8, -1.0])), KEYS[0], X[0])
    assert traces == 1
    at = np.asarray(jax.jit(jax.vmap(image.ssim, in_axes=(None, 0)))(X[0], out))
    np.testing.assert_array_equal(out[0], X[0])
    np.testing.assert_allclose(at, [1.0, 0.95, 0.9, 0.5], atol=2e-5)
    assert stacked.is_identity().tolist() == [True, False, False, False]
    assert jax.tree.structure(scale(at_least=0.9)) == jax.tree.structure(
        image.bounded(image.Contrast, "ssim", at_least=0.8)
    )
    one_by_one = stack([scale(at_least=v) for v in (1.0, 0.95, 0.9, 0.5)])
    np.testing.assert_array_equal(program(one_by_one, KEYS[0], X[0]), out)
    with pytest.raises(ArgumentError, match="a stack of perturbations"):
        stacked(KEYS[0], X[0])


class Hump(Perturbation):
    """Brighter up to severity 2, and back, and then beyond: not monotone. Black at severities between 3 and 3.5."""

    shift: jax.Array
    deterministic = True

    @classmethod
    def at(cls, severity, tear=False):
        shift = interpolate(severity, (0.0, 0.1, 0.2, 0.1, 0.05, 0.4))
        hole = (jnp.asarray(severity) > 3) & (jnp.asarray(severity) < 3.5)
        return cls(shift=jnp.where(hole & tear, -1.0, shift))

    def is_identity(self):
        return self.shift == 0

    def apply(self, key, x):
        return jnp.clip(x + self.shift, 0, 1)


@pytest.mark.parametrize("tear", [False, True])
@pytest.mark.parametrize("bound", [0.03, 0.07, 0.15, 0.3])
def test_where_the_distance_is_not_monotone_a_crossing_is_found(bound, tear):
    x = jnp.full((8, 8, 1), 0.5)
    made = image.bounded(Hump, "linf", at_most=bound, tear=tear)
    out, severity = strongest(made, KEYS[0], x)
    assert image.linf_distance(x, out) <= np.float32(bound)
    over = image.linf_distance(x, Hump.at(severity + 1e-4, tear=tear)(KEYS[0], x))
    assert over > bound and severity > 0.1
    np.testing.assert_allclose(out, Hump.at(severity, tear=tear)(KEYS[0], x), atol=1e-7)


def test_the_most_that_is_tried_is_returned_where_it_is_allowed():
    anything = image.bounded(image.Contrast, "ssim", at_least=-1.0)
    out, severity = strongest(anything, KEYS[0], X[0])
    assert severity == 5
    np.testing.assert_allclose(out, image.Contrast.at(5)(KEYS[0], X[0]), atol=1e-7)
    out, severity = strongest(anything.at(2.0), KEYS[0], X[0])
    assert severity == 2
    out, severity = strongest(image.bounded(image.Contrast, "ssim", at_least=0.9, severity=0.25), KEYS[0], X[0])
    assert severity == 0.25


def test_where_nothing_is_allowed_the_image_itself_is_returned():
    for nothing in (
        image.bounded(image.Contrast, "ssim", at_least=1),
        image.bounded(image.Contrast, "psnr", at_least=120.0),
        image.bounded(image.Contrast, "linf", at_most=0),
        image.bounded(image.Contrast, "ssim", at_least=0.5).at(0),
    ):
        assert bool(nothing.is_identity())
        out, severity = strongest(nothing, KEYS[0], X[0])
        assert severity == 0
        np.testing.assert_array_equal(out, X[0])
        np.testing.assert_array_equal(run(nothing, KEYS[0], X[0]), X[0])
    impossible = image.bounded(image.Contrast, lambda x, y: jnp.float32(jnp.nan), at_least=0.5)
    out, severity = strongest(impossible, KEYS[0], X[0])
    assert severity == 0 and not impossible.is_identity()
    np.testing.assert_array_equal(out, X[0])


def test_a_metric_may_be_a_function():
    def changed(x, y):
        return jnp.sum(x != y).astype(jnp.float32)

    x = jnp.full((16, 16, 1), 0.5)
    noise = image.bounded(image.ImpulseNoise, changed, at_most=10)
    out, severity = strongest(noise, KEYS[0], x)
    assert changed(x, out) == 10 and 0 < severity < 5
    halves = functools.partial(image.ms_ssim, scales=1)
    out = run(image.bounded(image.Contrast, halves, at_least=0.8), KEYS[0], X[0])
    np.testing.assert_allclose(jax.jit(halves)(X[0], out), 0.8, atol=1e-5)
    metric = image.Metric(changed, high_is_close=False, low=0, none=0)
    assert bool(image.bounded(image.ImpulseNoise, metric, at_most=0).is_identity())
    with pytest.raises(ArgumentError, match="a bound on .*changed lies in .0, inf."):
        image.bounded(image.ImpulseNoise, metric, at_most=-1)


def test_several_perturbations_share_one_severity():
    both = image.bounded(chain(image.GaussianNoise, image.Contrast), "ssim", at_least=0.8, size=32)
    assert not both.deterministic and image.bounded(image.Contrast, "ssim", at_least=0.8).deterministic
    out, severity = strongest(both, KEYS[0], X[0])
    np.testing.assert_allclose(jax.jit(image.ssim)(X[0], out), 0.8, atol=1e-4)
    links = chain(image.GaussianNoise, image.Contrast).at(severity, size=32)
    np.testing.assert_allclose(out, run(links, KEYS[0], X[0]), atol=1e-6)


def test_derivatives_are_those_at_the_severity_that_was_found():
    made, x = image.bounded(image.Contrast, "ssim", at_least=0.8), X[0]
    weight = jax.random.normal(jax.random.key(1), x.shape)

    def score(perturbation, x):
        return jnp.sum(weight * perturbation(KEYS[0], x))

    slopes = jax.jit(jax.grad(score, argnums=(0, 1)))
    by_bound, by_image = slopes(made, x)
    assert by_bound.bound == 0 and by_bound.severity == 0
    _, severity = strongest(made, KEYS[0], x)
    np.testing.assert_allclose(by_image, slopes(image.Contrast.at(severity), x)[1], atol=1e-5)
    way = jax.random.normal(jax.random.key(2), x.shape)
    tangent = jax.jit(lambda: jax.jvp(lambda v: score(made, v), (x,), (way,))[1])()
    np.testing.assert_allclose(tangent, jnp.sum(by_image * way), rtol=1e-4)


def test_what_makes_no_sense_is_refused():
    for bad, match in (
        (lambda: image.bounded(image.Fog, metric="sssim", at_least=0.9), "did you mean 'ssim'"),
        (lambda: image.bounded(image.Fog, metric=3, at_least=0.9), "a function"),
        (lambda: image.bounded(image.Fog, metric="ssim", at_least=1.5), r"a bound on ssim lies in \[-1, 1\]"),
        (lambda: image.bounded(image.Fog, metric="ssim", at_least=[0.9, np.nan]), "got nan"),
        (lambda: image.bounded(image.Fog, metric="linf", at_most=8), r"lies in \[0, 1\]"),
        (lambda: image.bounded(image.Fog, metric="psnr", at_least=-1), r"lies in \[0, inf\]"),
        (lambda: image.bounded(image.Fog, metric="ssim", at_most=0.9), "at_least: it is higher where"),
        (lambda: image.bounded(image.Fog, metric="l2", at_least=0.9), "at_most: a distance"),
        (lambda: image.bounded(image.Fog, metric="ssim", at_least=0.9, at_most=1), "exactly one of them"),
        (lambda: image.bounded(image.Fog, metric="ssim")(), "exactly one of them"),
        (lambda: image.bounded(image.Fog, metric="ssim", at_least=0.9, severity=6), "a severity lies in"),
        (lambda: image.bounded(image.Fog, metric="ssim", at_least=0.9, sise=32), "did you mean 'size'"),
        (lambda: image.bounded(image.Fog, metric="ssim", at_least=0.9, size=64), "published scales"),
        (lambda: image.bounded(image.Fog, metric="ssim", at_least=0.9, steps=0), "1 or more"),
        (lambda: image.bounded(image.Fog.at(3), metric="ssim", at_least=0.9), "with a severity scale"),
        (lambda: image.bounded(NoScale, metric="ssim", at_least=0.9), "`scale`: got NoScale.*with a severity scale"),
        (lambda: image.bounded(len, metric="ssim", at_least=0.9), "with a severity scale"),
        (lambda: image.bounded(image.Fog, metric="ssim", severity=-1), "a severity lies in"),
    ):
        with pytest.raises(ArgumentError, match=match):
            bad()
    with pytest.raises(ArgumentError, match="no side under 176 px"):
        image.bounded(image.Contrast, metric="ms_ssim", at_least=0.9)(KEYS[0], X[0])


class NoScale(Perturbation):
    """Has no scale."""

    shift: jax.Array


# --- in a campaign ---------------------------------------------------------------------------------------------------


def campaign(**stages):
    x = pictures(12, (12, 12, 1))
    weight = np.random.default_rng(0).normal(size=(144, 3)).astype(np.float32)
    model = sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, weight, name="linear")
    return sj.Campaign(
        model, sj.Dataset(np.asarray(x), np.arange(12) % 3, name="waves"), stages, seeds=2, name="bounds"
    )


def test_a_campaign_sweeps_the_bound(tmp_path):
    fog = sj.sweep(image.bounded(image.Fog, metric="ssim", size=32), at_least=[1.0, 0.95, 0.9])
    made = campaign(fog=fog)
    assert [s.name for s in made.scenarios] == ["clean", "fog@0.95", "fog@0.9"]
    results = sj.run(made, tmp_path / "run", micro_batch=16)
    assert results.completeness.complete and results.statistics()[0]["programs_compiled"] == 4
    frame = results.frame()
    assert len(frame) == 12 * (1 + 2 + 2)
    x = sj.perturbed_inputs(made, "fog@0.9", 1)
    clean = np.asarray(made.examples.x)
    at = np.asarray(jax.jit(jax.vmap(image.ssim))(clean, x))
    assert (at >= np.float32(0.9)).all() and np.median(at) < 0.9001
    again = sj.run(campaign(fog=fog), tmp_path / "run")
    assert len(again.statistics()) == 1, "the same bounds are the same campaign: nothing was computed again"
    assert (tmp_path / "run" / "report.html").exists() or results.report().exists()


def test_a_campaign_sweeps_the_severity_within_a_bound(tmp_path):
    guarded = image.bounded(image.Contrast, metric="ssim", at_least=0.9)
    made = campaign(
        contrast=sj.sweep(guarded, severity=[0, 1, 3, 5]),
        blur=sj.sweep(image.bounded(image.GaussianBlur, metric="psnr", size=32), at_least=[120, 30, 20]),
        mild=sj.sweep(image.bounded(image.Contrast, metric="linf", severity=2.0), at_most=[0, 0.9]),
    )
    assert {s.name for s in made.scenarios} >= {"contrast@1", "contrast@5", "blur@30", "mild@0.9"}
    x = jnp.asarray(made.examples.x)
    most = jnp.asarray(sj.perturbed_inputs(made, "contrast@5", 0))
    assert (jax.jit(jax.vmap(image.ssim))(x, most) >= np.float32(0.9)).all()
    assert np.any(sj.perturbed_inputs(made, "contrast@1", 0) != np.asarray(x))
    mild = sj.perturbed_inputs(made, "mild@0.9", 0)  # a bound so wide that the severity decides
    np.testing.assert_allclose(mild, jax.vmap(lambda v: image.Contrast.at(2.0)(KEYS[0], v))(x), atol=1e-6)


def test_a_spec_sweeps_a_bound_of_a_module_beside_it(tmp_path):
    (tmp_path / "visible.py").write_text(
        "import numpy as np\nimport sensijax as sj\nfrom sensijax.perturb import image\n"
        'fog = image.bounded(image.Fog, metric="ssim", size=32)\nguarded = fog(at_least=0.9)\n'
        "data = sj.Dataset(np.zeros((3, 12, 12, 1), np.float32), np.array([0, 1, 1]))\n"
        "model = sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, np.ones((144, 2), np.float32), name='linear')\n"
    )
    (tmp_path / "spec.toml").write_text(
        'schema = 1\n[campaign]\nname = "b"\n[model]\nload = "visible:model"\n[data]\nload = "visible:data"\n'
        '[[stage]]\nname = "fog"\nkind = "visible:fog"\nat_least = [1.0, 0.95, 0.8]\n'
        '[[stage]]\nname = "guarded"\nkind = "visible:guarded"\nseverity = [0, 5]\n'
    )
    made = sj.load_spec(tmp_path / "spec.toml").campaign
    assert [s.name for s in made.scenarios] == ["clean", "fog@0.95", "fog@0.8", "guarded@5"]


def test_faults_of_bounds_are_told_with_the_rest():
    with pytest.raises(sj.CampaignError, match=r"stages.fog.at_least\[1\]: 1.5; a bound on ssim lies in \[-1, 1\]"):
        campaign(fog=sj.sweep(image.bounded(image.Fog, metric="ssim"), at_least=[1.0, 1.5]))
    with pytest.raises(sj.CampaignError, match="at_most: a distance"):
        campaign(fog=sj.sweep(image.bounded(image.Fog, metric="linf"), at_least=[0, 0.5]))
    with pytest.raises(sj.CampaignError, match="no clean baseline"):
        campaign(fog=sj.sweep(image.bounded(image.Fog, metric="ssim"), at_least=[0.9, 0.8]))


def test_the_content_of_a_bound_has_a_digest():
    made = campaign(fog=sj.sweep(image.bounded(image.Fog, metric="ssim"), at_least=[1.0, 0.9, 0.8]))
    other = campaign(fog=sj.sweep(image.bounded(image.Fog, metric="psnr"), at_least=[120.0, 0.9, 0.8]))
    digests = {c.settings_digest(s) for c in (made, other) for s in c.scenarios}
    assert len(digests) == 1 + 2 + 2
    assert dataclasses.replace(made.perturbation("fog", 0.9)).metric == made.perturbation("fog", 0.8).metric
