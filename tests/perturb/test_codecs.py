"""The model of WebP against the codec, and careless resizing against Pillow and OpenCV."""

import io
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, features
from sklearn.datasets import load_sample_images

from sensijax.perturb import image
from sensijax.perturb.image import _vp8

KEY = jax.random.key(0)
GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
webp = jax.jit(lambda quality, x: image.WEBP(quality=quality)(KEY, x))
run = jax.jit(lambda op, x: op(KEY, x))
steps, transform, inverse = map(jax.jit, (_vp8.steps, _vp8.transform, _vp8.inverse))
filtered = jax.jit(_vp8._filtered_rows, static_argnums=2)


def photos(side):
    cuts = (Image.fromarray(picture).crop((100, 0, 527, 427)) for picture in load_sample_images().images)
    return [np.asarray(cut.resize((side, side), Image.Resampling.LANCZOS)) for cut in cuts]


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2))


@pytest.mark.skipif(not features.check("webp"), reason="Pillow without WebP")
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_webps_quality_is_the_codecs_within_a_decibel_and_a_half(grey):
    for pixels in photos(96):
        if grey:
            pixels = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
        ours, theirs = [], []
        for quality in (5, 10, 20, 30, 40, 50, 65, 75, 80, 90, 95):
            file = io.BytesIO()
            source = Image.fromarray(pixels[..., 0] if grey else pixels).convert("RGB")
            source.save(file, "WEBP", quality=quality)
            codec = np.asarray(Image.open(file).convert("L" if grey else "RGB")).reshape(pixels.shape)
            came = 255 * np.asarray(webp(jnp.float32(quality), jnp.asarray(pixels / 255, jnp.float32)))
            np.testing.assert_allclose(came, np.round(came), atol=1e-3)  # bytes
            ours.append(psnr(pixels, came))
            theirs.append(psnr(pixels, codec))
            # Closer to the codec's picture than that is to the original: most errors are the same, in colour.
            assert grey or psnr(codec, came) > theirs[-1]
        assert np.abs(np.subtract(ours, theirs)).max() < 1.5, (ours, theirs)
        assert (np.diff(ours) > 0).all()


def test_webps_steps_are_the_standards_tables_at_libwebps_index():
    assert len(_vp8._DC) == len(_vp8._AC) == 128
    places = [0, 7, 40, 48, 64, 83, 96, 104, 112, 120, 127]
    assert _vp8._DC[places].tolist() == [4, 10, 37, 44, 59, 77, 91, 104, 122, 138, 157]
    assert _vp8._AC[places].tolist() == [4, 11, 44, 52, 78, 116, 155, 181, 213, 249, 284]
    for quality in (0.5, 10, 50, 75, 76, 90, 100):
        share = quality / 100
        index = 127 * (1 - np.cbrt(share * 2 / 3 if share < 0.75 else 2 * share - 1))
        came = steps(jnp.float32(quality))
        low = min(int(index), 126)
        assert _vp8._AC[low] <= came.luma <= _vp8._AC[low + 1]
        assert _vp8._DC[low] <= came.means_dc / 2 <= _vp8._DC[low + 1] and came.chroma_dc <= 132
        assert abs(float(came.means_ac) - max(8, 1.55 * float(came.luma))) <= 1.5


def test_webps_transforms_are_the_cosine_transform_and_its_inverse():
    samples = np.random.default_rng(0).integers(-255, 256, (4, 4, 60))
    n, u = np.mgrid[:4, :4]
    matrix = (np.where(u == 0, 0.5, np.sqrt(0.5)) * np.cos((2 * n + 1) * u * np.pi / 8)).T
    exact = 2 * np.einsum("ur,vc,rcn->uvn", matrix, matrix, samples)
    came = transform(jnp.asarray(samples, jnp.float32))
    np.testing.assert_allclose(came, exact, atol=0.5)
    np.testing.assert_allclose(inverse(jnp.round(came)), samples, atol=2)
    for function, value in (
        (transform, exact),
        (inverse, np.einsum("uvn,ur,vc->rcn", samples, matrix, matrix) / 2),
    ):
        given = (jnp.asarray(samples, jnp.float32),)
        tangent = jax.jit(lambda v, f=function: jax.jvp(f, v, v)[1])(given)
        np.testing.assert_allclose(tangent, value, atol=0.3)


def butterflies(values):
    """RFC 6386, section 14.3, in one direction, in Python's whole numbers."""
    a, b, c, d = (int(v) for v in values)
    inner = ((b * 35468) >> 16) - (d + ((d * 20091) >> 16))
    outer = (b + ((b * 20091) >> 16)) + ((d * 35468) >> 16)
    return [a + c + outer, a - c + inner, a - c - inner, a + c - outer]


def test_webps_inverse_transform_is_the_standards_bit_for_bit():
    coefficients = np.random.default_rng(1).integers(-2000, 2001, (4, 4, 50))
    came = np.asarray(inverse(jnp.asarray(coefficients, jnp.float32)))
    for block in range(50):
        down = np.array([butterflies(coefficients[:, k, block]) for k in range(4)]).T
        expected = np.array([[(v + 4) >> 3 for v in butterflies(row)] for row in down])
        np.testing.assert_array_equal(came[..., block], expected)


def softened(lines, level, wide):
    """RFC 6386, section 15.3, for one place of an edge: eight bytes across it, in Python's whole numbers."""
    p3, p2, p1, p0, q0, q1, q2, q3 = (int(v) - 128 for v in lines)

    def c(v):
        return max(-128, min(127, v))

    inner, reach = max(level, 1), 2 * (level + 2 * wide) + max(level, 1)
    busy = 2 if level >= 40 else 1 if level >= 15 else 0
    near = max(abs(a - b) for a, b in ((p3, p2), (p2, p1), (p1, p0), (q1, q0), (q2, q1), (q3, q2))) <= inner
    if level and near and abs(p0 - q0) * 2 + abs(p1 - q1) // 2 <= reach:
        sharp = abs(p1 - p0) > busy or abs(q1 - q0) > busy
        if wide and not sharp:
            w = c(c(p1 - q1) + 3 * (q0 - p0))
            a, b, d = ((weight * w + 63) >> 7 for weight in (27, 18, 9))
            p0, q0, p1, q1, p2, q2 = c(p0 + a), c(q0 - a), c(p1 + b), c(q1 - b), c(p2 + d), c(q2 - d)
        else:
            w = c((c(p1 - q1) if sharp or wide else 0) + 3 * (q0 - p0))
            down, up = c(w + 4) >> 3, c(w + 3) >> 3
            p0, q0 = c(p0 + up), c(q0 - down)
            if not sharp:
                a = (down + 1) >> 1
                p1, q1 = c(p1 + a), c(q1 - a)
    return [v + 128 for v in (p3, p2, p1, p0, q0, q1, q2, q3)]


@pytest.mark.parametrize("level", [0, 1, 10, 20, 45, 63])
@pytest.mark.parametrize("size", [8, 16])
def test_webps_filter_is_the_standards(level, size):
    rng = np.random.default_rng(level)
    slope = min(6, level // 3 + 1)
    lines = np.cumsum(rng.integers(-slope, slope + 1, (3 * size, 40)), axis=0) + rng.integers(0, 256, 40)
    plane = np.clip(lines + 2 * slope * rng.integers(-1, 2, (3 * size // 4, 40)).repeat(4, axis=0), 0, 255)
    expected = plane.copy()
    for edge in [*range(size, 3 * size, size)]:
        for column in range(40):
            expected[edge - 4 : edge + 4, column] = softened(expected[edge - 4 : edge + 4, column], level, True)
    for edge in range(4, 3 * size, 4):
        for column in range(40 if edge % size else 0):
            expected[edge - 4 : edge + 4, column] = softened(expected[edge - 4 : edge + 4, column], level, False)
    came = filtered(jnp.asarray(plane, jnp.float32), jnp.float32(level), size)
    np.testing.assert_array_equal(came, expected)
    assert (expected != plane).any() == (level > 0)


# Numbers of pixels for which no pixel's centre falls on another's border, or all the arithmetic is exact.
@pytest.mark.parametrize(
    ("shape", "counts"), [((32, 32, 3), (4, 8, 16)), ((33, 33, 1), (3, 9, 17, 25, 31)), ((45, 45, 3), (7, 31))], ids=str
)
def test_resizing_by_the_nearest_pixel_is_pillows(shape, counts):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    height, width, channels = shape
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    for count in counts:
        small = picture.resize((count, count), Image.Resampling.NEAREST)
        expected = np.asarray(small.resize((width, height), Image.Resampling.NEAREST)).reshape(shape)
        op = image.Resize(fraction=jnp.float32(count / height), kernel=image.NEAREST)
        came = 255 * np.asarray(run(op, jnp.asarray(pixels / 255, jnp.float32)))
        np.testing.assert_array_equal(np.round(came).astype(np.uint8), expected, err_msg=f"{count} px")


@pytest.mark.parametrize(("name", "kernel"), [("bilinear", image.BILINEAR), ("bicubic", image.BICUBIC)])
def test_resizing_between_pixels_is_opencvs(name, kernel):
    golden = np.load(GOLDEN / "resize.npz")
    for fraction in (0.875, 0.5, 0.375, 0.25, 0.125):
        came = run(image.Resize(fraction=jnp.float32(fraction), kernel=kernel), jnp.asarray(golden["image"])[..., None])
        expected = np.clip(golden[f"{name} {fraction}"], 0, 1)
        np.testing.assert_allclose(came[..., 0], expected, atol=2e-5, err_msg=f"fraction {fraction}")


def test_resizing_folds_fine_stripes_into_coarse_ones():
    x = 0.5 + 0.5 * jnp.cos(2 * np.pi * 0.45 * jnp.arange(64.0))[None, :, None] * jnp.ones((64, 1, 1))
    op = image.Resize(fraction=jnp.float32(0.5), kernel=image.NEAREST)
    spectrum = np.abs(np.fft.rfft(np.asarray(run(op, x))[0, :, 0] - 0.5))
    # Every second pixel of 0.45 cycles a pixel: 0.9 a sample, which looks like 0.1 a sample, or 0.05 a pixel.
    assert abs(np.argmax(spectrum) / 64 - 0.05) < 0.01


def test_an_image_between_two_fractions_lies_between():
    x = jnp.asarray(photos(32)[0] / 255, jnp.float32)
    # Fractions for which the small image keeps its 17 pixels.
    fractions = jnp.linspace(0.505, 0.53, 2001)
    for kernel in (image.BILINEAR, image.BICUBIC):
        out = np.asarray(jax.jit(jax.vmap(lambda f, k=kernel: image.Resize(fraction=f, kernel=k)(KEY, x)))(fractions))
        assert np.abs(np.diff(out, axis=0)).max() < 2e-3
