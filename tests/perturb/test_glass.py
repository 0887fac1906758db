"""Glass blur against the published loop, pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from sensijax_kernels.random import bits

from sensijax.perturb.image.glass import GlassBlur, displacements, sources

PUBLISHED = {
    224: [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    32: [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
}
SETTINGS = [(size, severity) for size in PUBLISHED for severity in range(1, 6)]

run = jax.jit(lambda op, key, x: op(key, x))
draw = jax.jit(displacements, static_argnums=3)
resolve = jax.jit(sources)


def scene(shape, seed=0):
    """An image of bytes with a falling spectrum, an edge and flat regions at both ends of the range."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(shape)
    out = np.sum([s * ndimage.gaussian_filter(noise, (s, s, 0), mode="wrap") for s in (0.7, 2, 5)], axis=0)
    out = 300 * (out - out.min()) / (out.max() - out.min()) - 20
    out[shape[0] // 2 :, : shape[1] // 3] = 255 - out[shape[0] // 2 :, : shape[1] // 3]
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


def shuffle(x, down, right, delta, iterations):
    """The published loop on a colour image: the assignment to the other pixel has no effect."""
    height, width = x.shape[:2]
    for i in range(iterations):
        for h in range(height - delta, delta, -1):
            for w in range(width - delta, delta, -1):
                x[h, w] = x[h + down[i, h, w], w + right[i, h, w]]
    return x


def test_on_a_colour_image_the_published_swap_is_a_copy():
    x = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    x[0, 0], x[0, 1] = x[0, 1], x[0, 0]
    assert x.tolist() == [[[3, 4, 5], [3, 4, 5]]]


@pytest.mark.parametrize(("size", "severity"), SETTINGS)
def test_the_pointer_chains_are_the_sequential_loop(size, severity):
    _, delta, iterations = PUBLISHED[size][severity - 1]
    for seed, (height, width) in enumerate([(32, 32), (32, 32), (37, 23), (64, 64)]):
        op = GlassBlur.at(severity, size=size)
        key = jax.random.key(seed)
        down, right = draw(key, op.delta, op.iterations, (op.passes, height, width))
        index = np.arange(height * width).reshape(height, width)
        expected = shuffle(index.copy(), np.asarray(down), np.asarray(right), delta, iterations)
        np.testing.assert_array_equal(resolve(down, right).reshape(height, width), expected)
        assert (expected != index).mean() > 0.4


def test_chains_of_any_length_are_followed_to_their_end():
    # Each pixel looks at the next: the last one's colour runs back through the whole image in a single pass.
    right = jnp.ones((1, 16, 16), jnp.int32).at[0, :, -1].set(-15)
    down = jnp.zeros((1, 16, 16), jnp.int32).at[0, :-1, -1].set(1)
    right = right.at[0, -1, -1].set(0)
    assert (resolve(down, right) == 255).all()


@pytest.mark.parametrize(("size", "severity"), SETTINGS)
def test_the_published_blur_within_a_byte(size, severity):
    sigma, delta, iterations = PUBLISHED[size][severity - 1]
    key, pixels = jax.random.key(severity), scene((40, 52, 3), seed=severity)
    op = GlassBlur.at(severity, size=size)
    down, right = draw(key, op.delta, op.iterations, (op.passes, 40, 52))

    def blur(x):
        return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4)

    x = np.uint8(blur(pixels / 255) * 255)
    x = shuffle(x, np.asarray(down), np.asarray(right), delta, iterations)
    expected = np.clip(blur(x / 255), 0, 1)
    came = run(op, key, jnp.asarray(pixels / 255, jnp.float32))
    # Where the first blur ends on a whole byte, its last bit decides whether the cut takes a byte off.
    np.testing.assert_allclose(came, expected, atol=1 / 255 + 1e-6)
    assert (np.abs(came - expected) > 1e-5).mean() < 0.05


def test_grey_images_are_shuffled_like_colour_images():
    pixels = jnp.asarray(scene((40, 52, 1)) / 255, jnp.float32)
    op, key = GlassBlur.at(5, size=32), jax.random.key(3)
    colour = run(op, key, jnp.broadcast_to(pixels, (40, 52, 3)))
    np.testing.assert_allclose(run(op, key, pixels)[..., 0], colour[..., 1], atol=1e-6)


@pytest.mark.parametrize("delta", [1, 2, 3, 4])
def test_displacements_are_uniform_and_independent(delta):
    down, right = draw(jax.random.key(7), jnp.float32(delta), jnp.float32(1), (1, 256, 256))
    inside = np.s_[0, delta + 1 : 257 - delta, delta + 1 : 257 - delta]
    down, right = np.array(down), np.array(right)
    pairs = (down[inside] + delta) * 2 * delta + right[inside] + delta
    counts = np.bincount(pairs.ravel(), minlength=4 * delta**2)
    assert len(counts) == 4 * delta**2
    expected = pairs.size / len(counts)
    chi = ((counts - expected) ** 2 / expected).sum()
    assert chi < len(counts) - 1 + 4 * np.sqrt(2 * len(counts))
    for line in (delta + 1, 256 - delta):  # the first and the last that the published loops reach
        assert down[0, line].any() and down[0, :, line].any()
    down[inside], right[inside] = 0, 0
    assert not down.any() and not right.any()  # the published loops leave the rim out


def test_a_fraction_is_a_share_of_the_pixels():
    shape, key = (2, 128, 128), jax.random.key(2)
    inner = np.s_[:, 3:125, 3:125]
    share = np.asarray(bits(key, shape) & jnp.uint32(255)) < 64
    down, right = (np.asarray(a) for a in draw(key, jnp.float32(1.25), jnp.float32(2), shape))
    one, two = (np.asarray(draw(key, jnp.float32(delta), jnp.float32(2), shape)[0]) for delta in (1, 2))
    np.testing.assert_array_equal(down[inner], np.where(share, two, one)[inner])
    down, right = (np.asarray(a) for a in draw(key, jnp.float32(2), jnp.float32(1.25), shape))
    moved = (down != 0) | (right != 0)
    assert 0.9 < moved[0][3:125, 3:125].mean() < 0.97  # 15 of 16 draws
    assert not (moved[1] & ~share[1]).any() and moved[1].mean() > 0.2


@pytest.mark.parametrize(("size", "monotone"), [(32, True), (224, True), (32, False), (224, False)])
def test_the_mean_change_never_falls_on_the_monotone_scale(size, monotone):
    x = [np.float32(scene((40, 52, 3), seed) / 255) for seed in range(8)]
    keys = jax.random.split(jax.random.key(0), 8)

    scale = [GlassBlur.at(severity, size=size, monotone=monotone) for severity in np.linspace(0, 5, 21)]
    changes = np.array([np.mean([np.abs(run(op, k, v) - v) for k, v in zip(keys, x, strict=True)]) for op in scale])
    assert changes[0] == 0 and changes[20] > 0.02
    assert (np.diff(changes) > 0).all() == monotone


def test_sigmas_derivative_passes_through_the_bytes():
    x = jnp.asarray(scene((40, 52, 3)) / 255, jnp.float32)
    weight = jax.random.normal(jax.random.key(1), x.shape)

    def blur(sigma):
        return GlassBlur(sigma=sigma, delta=jnp.float32(2), iterations=jnp.float32(1))

    def score(sigma):
        return jnp.sum(weight * blur(sigma)(jax.random.key(0), x))

    # The cut's steps average out over a range; int(4 sigma + 0.5) is 4 throughout.
    sigmas = np.linspace(0.9, 1.1, 9, dtype=np.float32)
    scores = [np.sum(weight * run(blur(jnp.float32(s)), jax.random.key(0), x), dtype=float) for s in sigmas]
    slope = np.polyfit(sigmas, scores, 1)[0]
    exact = jax.jit(jax.grad(score))(jnp.float32(1.0))
    tangent = jax.jit(lambda s: jax.jvp(score, (s,), (jnp.ones_like(s),))[1])(jnp.float32(1.0))
    np.testing.assert_allclose(exact, slope, rtol=0.1)
    np.testing.assert_allclose(exact, tangent, rtol=1e-4)
