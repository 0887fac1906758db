"""The published ImageNet-C corruptions as plain functions of an image, constants and given draws.

Runs in the environment of `requirements.txt`, and knows nothing of sensijax. The definitions are those of
hendrycks/robustness (`make_imagenet_c.py` and `make_cifar_c.py`, Apache-2.0), written anew over the libraries that they
call: NumPy, SciPy, scikit-image, OpenCV, Pillow. Every random array is an argument, in place of a call to
`np.random`; where `imagecorruptions` has the same definition, `check` compares with it on the same draws.

    python published.py IN.npz OUT.npz      # what `python -m bench.conformance` calls
    python published.py --check             # these functions against `imagecorruptions`
"""

import contextlib
import io
import json
import math
import sys
from unittest import mock

import cv2
import numpy as np
import skimage
from imagecorruptions import corruptions
from PIL import Image
from scipy import ndimage, stats

# (224 px, 32 px), severities 1 to 5.
CONSTANTS = {
    "GaussianNoise": ([0.08, 0.12, 0.18, 0.26, 0.38], [0.04, 0.06, 0.08, 0.09, 0.10]),
    "ShotNoise": ([60, 25, 12, 5, 3], [500, 250, 100, 75, 50]),
    "ImpulseNoise": ([0.03, 0.06, 0.09, 0.17, 0.27], [0.01, 0.02, 0.03, 0.05, 0.07]),
    "SpeckleNoise": ([0.15, 0.2, 0.35, 0.45, 0.6], [0.06, 0.1, 0.12, 0.16, 0.2]),
    "GaussianBlur": ([1, 2, 3, 4, 6], [0.4, 0.6, 0.7, 0.8, 1]),
    "GlassBlur": (
        [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
        [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    ),
    "DefocusBlur": (
        [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)],
        [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
    ),
    "MotionBlur": ([(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)], [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)]),
    "ZoomBlur": (
        [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
        [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)],
    ),
    "Snow": (
        [
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ],
        [
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ],
    ),
    "Frost": (
        [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
        [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
    ),
    "Fog": (
        [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)],
        [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
    ),
    "Spatter": (
        [
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ],
        [
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ],
    ),
    "Brightness": ([0.1, 0.2, 0.3, 0.4, 0.5], [0.05, 0.1, 0.15, 0.2, 0.3]),
    "Contrast": ([0.4, 0.3, 0.2, 0.1, 0.05], [0.75, 0.5, 0.4, 0.3, 0.15]),
    "Saturate": (
        [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)],
        [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)],
    ),
    "JPEG": ([25, 18, 15, 10, 7], [80, 65, 58, 50, 40]),
    "Pixelate": ([0.6, 0.5, 0.4, 0.3, 0.25], [0.95, 0.9, 0.85, 0.75, 0.65]),
    "Elastic": (
        [(488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)],
        [(0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)],
    ),
}

# In each function: x is uint8 [H, W, 3], c its constants; the draws follow. All return [0, 255], as published.


def gaussian_noise(x, std, normal):
    return 255 * np.clip(x / 255 + std * normal, 0, 1)


def shot_noise(x, photons, uniform):
    # The Poisson quantile of the given uniform numbers, from SciPy.
    return 255 * np.clip(stats.poisson.ppf(np.clip(uniform, 2**-24, 1), x / 255 * photons) / photons, 0, 1)


def impulse_noise(x, rate, uniform):
    # `random_noise(mode="s&p")` flips a coin whether, and another which; here one number says both.
    out = x / 255
    out[uniform < rate / 2] = 0
    out[uniform >= 1 - rate / 2] = 1
    return 255 * out


def speckle_noise(x, std, normal):
    return 255 * np.clip(x / 255 * (1 + std * normal), 0, 1)


def gaussian_blur(x, sigma):
    return 255 * np.clip(skimage.filters.gaussian(x / 255, sigma=sigma, channel_axis=-1), 0, 1)


def glass_blur(x, c, steps):
    """`steps[iteration, row, column]` are (dx, dy), whole numbers in [-delta, delta)."""
    sigma, delta, iterations = c
    x = np.uint8(255 * skimage.filters.gaussian(x / 255, sigma=sigma, channel_axis=-1))
    height, width = x.shape[:2]
    for i in range(iterations):
        for h in range(height - delta, delta, -1):
            for w in range(width - delta, delta, -1):
                dx, dy = steps[i, h, w]
                # Published as a swap of two views of one array, which copies one way only.
                x[h, w] = x[h + dy, w + dx]
    return 255 * np.clip(skimage.filters.gaussian(x / 255, sigma=sigma, channel_axis=-1), 0, 1)


def defocus_blur(x, c):
    kernel = corruptions.disk(*c)
    return 255 * np.clip(np.stack([cv2.filter2D(x[..., i] / 255, -1, kernel) for i in range(3)], axis=-1), 0, 1)


def motion_blur(x, c, angle):
    return np.clip(corruptions._motion_blur(x, *c, angle), 0, 255)


def _zoomed(x, factor):
    height, width = x.shape[:2]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    x = ndimage.zoom(x[top : top + rows, left : left + columns], (factor, factor, 1), order=1)
    top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
    return x[top : top + height, left : left + width]


def zoom_blur(x, c):
    factors = np.arange(1, *c)
    x = np.float32(x / 255)
    return 255 * np.clip((x + sum(_zoomed(x, f) for f in factors)) / (len(factors) + 1), 0, 1)


def snow(x, c, normal, angle):
    mean, std, zoom, threshold, radius, sigma, mix = c
    layer = _zoomed((mean + std * normal)[..., None], zoom)[..., 0]
    layer = np.uint8(255 * np.clip(np.where(layer < threshold, 0, layer), 0, 1))
    # ImageMagick 6 rounds its result to 16 bits, then cuts it to 8.
    layer = (np.round(257 * corruptions._motion_blur(layer, radius, sigma, angle)) // 257)[..., None] / 255
    x = np.float32(x) / 255
    grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None]
    return 255 * np.clip(mix * x + (1 - mix) * np.maximum(x, 1.5 * grey + 0.5) + layer + np.rot90(layer, 2), 0, 1)


def frost(x, c, overlay):
    return np.clip(c[0] * np.float64(x) + c[1] * 255 * overlay, 0, 255)


def fog(x, c, uniform):
    """`uniform` in [-1, 1): the wibbles, in the published order of drawing."""
    draws = iter(uniform.tolist())
    side = corruptions.next_power_of_2(max(x.shape[:2]))

    def take(low, high, shape):
        values = np.array([next(draws) for _ in range(math.prod(shape))]).reshape(shape)
        return low + (high - low) * (values + 1) / 2

    with mock.patch("numpy.random.uniform", take):
        haze = corruptions.plasma_fractal(side, c[1])[: x.shape[0], : x.shape[1], None]
    x = x / 255
    return 255 * np.clip((x + c[0] * haze) * x.max() / (x.max() + c[0]), 0, 1)


def spatter(x, c, normal):
    mean, std, blur, threshold, strength, mud = c
    x = np.float32(x) / 255
    liquid = skimage.filters.gaussian(mean + std * normal, sigma=blur)
    liquid[liquid < threshold] = 0
    if mud:
        mask = skimage.filters.gaussian(np.float32(liquid > threshold), sigma=strength)
        mask = np.where(mask < 0.8, 0, mask)[..., None]
        return 255 * np.clip(x * (1 - mask) + mask * np.array([63, 42, 20]) / 255, 0, 1)
    liquid = np.uint8(255 * liquid)
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    distance = np.uint8(cv2.blur(np.minimum(distance, 20), (3, 3)))
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    distance = cv2.filter2D(cv2.equalizeHist(distance), cv2.CV_8U, emboss)
    layer = liquid * np.float32(cv2.blur(distance, (3, 3)))
    layer = strength * layer / layer.max()
    return 255 * np.clip(x + layer[..., None] * np.float32([175, 238, 238]) / 255, 0, 1)


def _hsv(x, change):
    return 255 * np.clip(skimage.color.hsv2rgb(change(skimage.color.rgb2hsv(x / 255))), 0, 1)


def brightness(x, shift):
    return _hsv(x, lambda hsv: np.stack([hsv[..., 0], hsv[..., 1], np.clip(hsv[..., 2] + shift, 0, 1)], axis=-1))


def saturate(x, c):
    return _hsv(x, lambda hsv: np.stack([hsv[..., 0], np.clip(hsv[..., 1] * c[0] + c[1], 0, 1), hsv[..., 2]], axis=-1))


def contrast(x, factor):
    mean = np.mean(x / 255, axis=(0, 1), keepdims=True)
    return 255 * np.clip((x / 255 - mean) * factor + mean, 0, 1)


def jpeg(x, quality):
    file = io.BytesIO()
    Image.fromarray(x).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def pixelate(x, fraction):
    height, width = x.shape[:2]
    small = Image.fromarray(x).resize((int(width * fraction), int(height * fraction)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX))


def elastic(x, c, corners, across, down):
    """`corners` in [-1, 1) [3, 2]; `across` and `down` in [-1, 1) [H, W]."""
    alpha, sigma, affine = c
    x = np.float32(x) / 255
    shape = np.array(x.shape[:2])
    centre, reach = np.float32(shape) // 2, min(shape) // 3
    before = np.float32([centre + reach, [centre[0] + reach, centre[1] - reach], centre - reach])
    matrix = cv2.getAffineTransform(before, before + np.float32(affine * corners))
    x = cv2.warpAffine(x, matrix, tuple(map(int, shape[::-1])), borderMode=cv2.BORDER_REFLECT_101)
    dx, dy = (
        np.float32(alpha * skimage.filters.gaussian(field, sigma, mode="reflect", truncate=3))
        for field in (across, down)
    )
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    read = [ndimage.map_coordinates(x[..., i], (rows + dy, columns + dx), order=1, mode="reflect") for i in range(3)]
    return 255 * np.clip(np.stack(read, axis=-1), 0, 1)


FUNCTIONS = {
    "GaussianNoise": gaussian_noise,
    "ShotNoise": shot_noise,
    "ImpulseNoise": impulse_noise,
    "DefocusBlur": defocus_blur,
    "GlassBlur": glass_blur,
    "MotionBlur": motion_blur,
    "ZoomBlur": zoom_blur,
    "Snow": snow,
    "Frost": frost,
    "Fog": fog,
    "Brightness": brightness,
    "Contrast": contrast,
    "Elastic": elastic,
    "Pixelate": pixelate,
    "JPEG": jpeg,
    "SpeckleNoise": speckle_noise,
    "GaussianBlur": gaussian_blur,
    "Spatter": spatter,
    "Saturate": saturate,
}


def corrupt(name, severity, size, x, draws):
    """One published corruption: float64 [H, W, 3] in [0, 255]."""
    c = CONSTANTS[name][(224, 32).index(size)][severity - 1]
    return np.asarray(FUNCTIONS[name](x, c, **draws), np.float64)


def check():
    """The largest difference from `imagecorruptions` on the same draws at 224 px, for each corruption it shares."""
    rng = np.random.default_rng(0)
    x = skimage.transform.resize(skimage.data.astronaut(), (224, 224), anti_aliasing=True)
    x = np.uint8(255 * x)
    normal, uniform = rng.standard_normal(x.shape), rng.uniform(-1, 1, 4**8 - 1)
    photons = rng.uniform(size=x.shape)
    flakes = rng.standard_normal(x.shape[:2])
    angle = 30.0

    @contextlib.contextmanager
    def drawing():
        wibbles = iter(uniform.tolist())

        def number(low, high, shape=None):
            if shape is None:
                return angle
            values = np.array([next(wibbles) for _ in range(math.prod(shape))]).reshape(shape)
            return low + (high - low) * (values + 1) / 2

        def gauss(size, loc=0.0, scale=1.0):
            return loc + scale * (normal if len(size) == 3 else flakes)

        with (
            mock.patch("numpy.random.uniform", number),
            mock.patch("numpy.random.normal", gauss),
            mock.patch("numpy.random.poisson", lambda rate: stats.poisson.ppf(photons, rate)),
        ):
            yield

    cases = {
        "GaussianNoise": (corruptions.gaussian_noise, {"normal": normal}),
        "ShotNoise": (corruptions.shot_noise, {"uniform": photons}),
        "SpeckleNoise": (corruptions.speckle_noise, {"normal": normal}),
        "GaussianBlur": (corruptions.gaussian_blur, {}),
        "DefocusBlur": (corruptions.defocus_blur, {}),
        "MotionBlur": (corruptions.motion_blur, {"angle": angle}),
        "Fog": (corruptions.fog, {"uniform": uniform}),
        "Spatter": (lambda x, s: corruptions.spatter(Image.fromarray(x), s), {"normal": flakes}),
        "Brightness": (corruptions.brightness, {}),
        "Contrast": (corruptions.contrast, {}),
        "Saturate": (corruptions.saturate, {}),
        "JPEG": (lambda x, s: np.asarray(corruptions.jpeg_compression(Image.fromarray(x), s)), {}),
        "Pixelate": (lambda x, s: np.asarray(corruptions.pixelate(Image.fromarray(x), s)), {}),
    }
    found = {}
    for name, (theirs, draws) in cases.items():
        found[name] = 0.0
        for severity in range(1, 6):
            with drawing():
                expected = theirs(x, severity)
            came = corrupt(name, severity, 224, x, draws)
            found[name] = max(found[name], float(np.abs(came - expected).max()))
    return found


def main():
    if sys.argv[1:] == ["--check"]:
        print(json.dumps(check(), indent=1))
        return
    given = np.load(sys.argv[1])
    out = {}
    for line in given["cells"].tolist():
        cell = json.loads(line)
        draws = {name: given[where] for name, where in cell["draws"].items()}
        draws = {name: float(value) if value.ndim == 0 else value for name, value in draws.items()}
        out[cell["id"]] = corrupt(cell["op"], cell["severity"], cell["size"], given[cell["image"]], draws)
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
