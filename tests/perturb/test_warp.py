"""What moves pixels moves masks, keypoints and boxes the same way."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from sensijax.core import ArgumentError
from sensijax.perturb import image

OPS = (
    image.Rotation,
    image.Translation,
    image.Scale,
    image.Shear,
    image.Perspective,
    image.CropResize,
    image.LensDistortion,
    image.RollingShutter,
    image.CausticRefraction,
    image.Elastic,
)
SHAPE = (48, 80)
ROWS = 200
KEYS = jax.random.split(jax.random.key(0), ROWS)
SEVERITIES = np.repeat(np.arange(1.0, 6.0, dtype=np.float32), ROWS // 5)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)

every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)


def inner_points(margin, seed):
    high = [SHAPE[1] - 1 - margin, SHAPE[0] - 1 - margin]
    return np.random.default_rng(seed).uniform([margin, margin], high, (ROWS, 2)).astype(np.float32)


def inner_boxes():
    low, high = inner_points(margin=6, seed=2), inner_points(margin=6, seed=3)
    return np.concatenate([np.minimum(low, high) - 4, np.maximum(low, high) + 4], axis=1)


RNG = np.random.default_rng(4)
# Far enough from the border, which goes on beyond the frame and would show a blob as a streak or twice.
CENTRES, POINTS, BOXES = inner_points(margin=10, seed=0), inner_points(margin=4, seed=1), inner_boxes()
MORE_POINTS = RNG.uniform(-20, 100, (20, 2)).astype(np.float32)  # beyond the frame too
MORE_BOXES = np.float32([[-12, 30, 20, 60], [85, 10, 95, 30]])  # the second lies beyond the frame
LABELS = RNG.integers(0, 99, SHAPE).astype(np.int32)
DISC = (Y - 0.45 * SHAPE[0]) ** 2 + (X - 0.55 * SHAPE[1]) ** 2 < 20.3**2
TEXTURE = RNG.uniform(0, 1, SHAPE).astype(np.float32)


def images(centres):
    """A Gaussian blob of 1 px around each point, the disc, and noise: `[row, H, W, 3]`."""
    blobs = np.exp(-(np.square(Y - centres[:, 1, None, None]) + np.square(X - centres[:, 0, None, None])) / 2)
    rest = np.broadcast_to(np.stack([DISC, TEXTURE], axis=-1), (len(centres), *SHAPE, 2))
    return np.concatenate([blobs[..., None], rest], axis=-1).astype(np.float32)


def move(op, severity, key, x, points, boxes):
    """One draw, and all that a warp does."""
    warp = op.at(severity, size=32).warp(key, *SHAPE)
    places, points_seen = warp.keypoints(points)
    bounds, boxes_seen = warp.boxes(boxes)
    return {
        "image": warp.image(x),
        "disc": warp.mask(DISC, fill=None),
        "labels": warp.mask(LABELS),
        "points": places,
        "points seen": points_seen,
        "boxes": bounds,
        "boxes seen": boxes_seen,
        "sampling": jnp.stack(warp.sampling()),
    }


alone = jax.jit(move, static_argnums=0)
together = jax.jit(jax.vmap(move, in_axes=(None, 0, 0, 0, 0, 0)), static_argnums=0)
apply = jax.jit(
    jax.vmap(lambda op, severity, key, x: op.at(severity, size=32)(key, x), in_axes=(None, 0, 0, 0)), static_argnums=0
)


def draws():
    """For every row, and one more of severity 0: severity, key, image, points and boxes; the row's own come first."""
    row = np.arange(ROWS + 1) % ROWS
    own = np.stack([CENTRES, POINTS], axis=1)[row]
    points = np.concatenate([own, np.broadcast_to(MORE_POINTS, (ROWS + 1, *MORE_POINTS.shape))], axis=1)
    boxes = np.concatenate([BOXES[row, None], np.broadcast_to(MORE_BOXES, (ROWS + 1, *MORE_BOXES.shape))], axis=1)
    return np.append(SEVERITIES, np.float32(0)), KEYS[row], images(CENTRES[row]), points, boxes


@functools.cache
def moved(op):
    """What one operation makes of all draws, as one batch; the last is that of severity 0."""
    with compiled_for(op):
        return jax.tree.map(np.asarray, together(op, *draws()))


@contextlib.contextmanager
def compiled_for(op):
    """Where boxes' outlines are led through Newton's method a quick program matters more than a quick compiler."""
    jax.config.update("jax_disable_most_optimizations", op is not image.CausticRefraction)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@every_op
def test_keypoints_go_where_the_image_shows_them(op):
    """A Gaussian blob of 1 px is drawn at the keypoint; its centroid in the moved image is the moved keypoint."""
    came = jax.tree.map(lambda leaf: leaf[:ROWS], moved(op))
    places, visible = came["points"][:, 0], came["points seen"][:, 0]
    down, right = came["sampling"][:, 0], came["sampling"][:, 1]
    # Weighted by the area each pixel reads, or a blob would lean to the side on which the image is enlarged.
    (down_y, down_x), (right_y, right_x) = (np.gradient(v, axis=(1, 2)) for v in (down, right))
    shown = came["image"][..., 0] * np.abs(down_y * right_x - down_x * right_y)
    centroid = np.stack([(shown * X).sum(axis=(1, 2)), (shown * Y).sum(axis=(1, 2))], axis=1)
    centroid /= np.maximum(shown.sum(axis=(1, 2)), 1e-9)[:, None]
    whole = visible & (places >= 4.5).all(axis=1) & (places <= np.array(SHAPE[::-1]) - 5.5).all(axis=1)
    assert all(whole[i : i + 40].sum() >= 8 for i in range(0, ROWS, 40))
    error = np.hypot(*(places - centroid).T)[whole]
    # The displacements of Elastic's severities 4 and 5 change within a blob, so its centroid is not one point's place.
    rough = (SEVERITIES[whole] >= 4) & (op is image.Elastic)
    assert error[~rough].max() <= 0.5
    assert not rough.any() or np.quantile(error[rough], 0.9) <= 0.5
    assert op is image.Elastic or np.median(error) <= 0.15


@every_op
def test_the_sampling_map_leads_keypoints_back(op):
    came = moved(op)
    places, visible = came["points"][:ROWS, 1], came["points seen"][:ROWS, 1]
    checked = 0
    for row in np.flatnonzero(visible):
        x, y = places[row]
        if not (2 <= x <= SHAPE[1] - 3 and 2 <= y <= SHAPE[0] - 3):
            continue
        # By SciPy between pixels.
        back = [ndimage.map_coordinates(came["sampling"][row, axis], [[y], [x]], order=1)[0] for axis in (1, 0)]
        bent = 0.5 if op is image.Elastic else 0.1  # between pixels, of two steps, SciPy's is not quite the map
        np.testing.assert_allclose(back, POINTS[row], atol=bent)
        checked += 1
    assert checked > ROWS / 3
    assert visible[:40].mean() > 0.7  # most of what a slight warp moves stays in the frame


@every_op
def test_the_mask_of_a_disc_moves_as_its_image(op):
    came, expected = moved(op)["disc"][:ROWS], moved(op)["image"][:ROWS, ..., 1] > 0.5
    union = (came | expected).sum(axis=(1, 2))
    overlap = (came & expected).sum(axis=(1, 2)) / np.maximum(union, 1)
    assert overlap[union > 300].min() >= 0.97 and (union > 300).sum() > 0.6 * ROWS


@every_op
def test_boxes_bound_what_reads_from_them(op):
    came = jax.tree.map(lambda leaf: leaf[:ROWS], moved(op))
    places, visible = came["boxes"][:, 0], came["boxes seen"][:, 0]
    down, right = came["sampling"][:, 0], came["sampling"][:, 1]
    x0, y0, x1, y1 = BOXES.T[..., None, None]
    inside = (right >= x0) & (right <= x1) & (down >= y0) & (down <= y1)
    count = inside.sum(axis=(1, 2))
    low = [np.where(inside, grid, np.inf).min(axis=(1, 2)) for grid in (X, Y)]
    high = [np.where(inside, grid, -np.inf).max(axis=(1, 2)) for grid in (X, Y)]
    bounds = np.stack([*low, *high], axis=1)
    limit = np.array(SHAPE[::-1]) - 0.5
    assert (places >= -0.5).all() and (places[:, :2] <= limit).all() and (places[:, 2:] <= limit).all()
    assert visible[count > 20].all()
    slack = np.concatenate([bounds[:, :2] - places[:, :2], places[:, 2:] - bounds[:, 2:]], axis=1)[count > 20]
    whole = ((places[:, :2] > -0.5) & (places[:, 2:] < limit)).all(axis=1)[count > 20]
    assert whole.sum() > 0.2 * ROWS
    if op is image.Elastic:  # mirrors the image beyond the frame, so that some boxes show twice: it bounds the first
        assert np.quantile(np.abs(slack), 0.9) <= 1.05
    else:  # nothing lies outside; bounds are pixel centres, so within a pixel, and two at an acute corner
        assert slack.min() > -0.1 and slack[whole].max() <= 2 and np.quantile(slack[whole], 0.9) <= 1.05


@every_op
def test_the_identity_gives_annotations_back_bit_for_bit(op):
    came, (_, _, x, points, boxes) = moved(op), (d[-1] for d in draws())
    for name, given in (("image", x), ("disc", DISC), ("labels", LABELS), ("points", points), ("boxes", boxes)):
        np.testing.assert_array_equal(came[name][-1], given)
        assert np.any(came[name][3 * ROWS // 5 : 4 * ROWS // 5] != given, axis=tuple(range(1, given.ndim + 1))).all()
    right, bottom = SHAPE[1] - 0.5, SHAPE[0] - 0.5
    inside = (points > -0.5).all(axis=1) & (points < [right, bottom]).all(axis=1)
    assert 0 < inside.sum() < len(points)
    np.testing.assert_array_equal(came["points seen"][-1], inside)
    meets = (boxes[:, 0] < right) & (boxes[:, 2] > -0.5) & (boxes[:, 1] < bottom) & (boxes[:, 3] > -0.5)
    assert 0 < meets.sum() < len(boxes)
    np.testing.assert_array_equal(came["boxes seen"][-1], meets)


@every_op
def test_a_warp_is_what_apply_does_and_a_stack_is_the_loop(op):
    came = moved(op)
    severities, keys, x, points, boxes = draws()
    some = slice(0, ROWS, 30)
    with compiled_for(op):
        applied = apply(op, severities[some], keys[some], x[some])
        loop = {
            row: alone(op, severities[row], keys[row], x[row], points[row], boxes[row]) for row in range(ROWS)[some]
        }
    np.testing.assert_array_equal(np.clip(came["image"][some], 0, 1), applied)
    for row, one in loop.items():
        for name in ("image", "disc", "labels"):
            np.testing.assert_array_equal(one[name], came[name][row])
        np.testing.assert_allclose(one["points"][:2], came["points"][row, :2], atol=1e-4)


def right_by(pixels_moved, shape=(8, 10)):
    """A shift to the right by whole pixels: the key is searched whose direction is nearly that."""
    keys = jax.random.split(jax.random.key(5), 20000)
    turns = jax.vmap(lambda k: jax.random.uniform(k, ()))(keys)
    key = keys[jnp.argmin(jnp.minimum(turns, 1 - turns))]
    return image.Translation(fraction=jnp.float32(pixels_moved / min(shape))).warp(key, *shape)


def test_points_are_x_then_y_and_zero_is_the_first_pixels_centre():
    warp = right_by(3)
    points = jnp.array([[0.0, 2.0], [6.4, 7.0], [7.0, 7.0], [-0.6, 2.0]])
    moved, visible = warp.keypoints(points)
    np.testing.assert_allclose(moved, points + jnp.array([[3.0, 0.0]]), atol=5e-3)
    assert visible.tolist() == [True, True, False, False]
    boxes, seen = warp.boxes(
        jnp.array([[-0.5, -0.5, 9.5, 7.5], [1, 2, 3, 4], [7, 0, 9, 5], [-9, 0, -2, 5]], jnp.float32)
    )
    np.testing.assert_allclose(boxes[:2], [[2.5, -0.5, 9.5, 7.5], [4, 2, 6, 4]], atol=5e-3)
    assert seen.tolist() == [True, True, False, False]


@pytest.mark.parametrize("dtype", [jnp.bool_, jnp.uint8, jnp.int32], ids=lambda d: d.__name__)
def test_masks_fill_what_comes_from_beyond_the_frame(dtype):
    labels = jnp.ones((8, 10), dtype)
    warp = right_by(3)
    for fill in (0, 1) if dtype is jnp.bool_ else (0, 255):
        out = warp.mask(labels, fill=fill)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out[:, :3], jnp.full((8, 3), fill, dtype))
        np.testing.assert_array_equal(out[:, 3:], labels[:, 3:])
    np.testing.assert_array_equal(warp.mask(labels, fill=None), labels)


def test_frames_and_points_that_do_not_fit_are_refused():
    warp = right_by(3)
    for call in (
        lambda: warp.image(jnp.zeros((10, 8, 3))),
        lambda: warp.mask(jnp.zeros((8, 10, 1), jnp.int32)),
        lambda: warp.keypoints(jnp.zeros((3, 4))),
        lambda: warp.keypoints(jnp.zeros((3, 2), jnp.int32)),
        lambda: warp.boxes(jnp.zeros((4,))),
    ):
        with pytest.raises(ArgumentError):
            call()


read = jax.jit(
    jax.vmap(lambda op, key, h, w: jnp.stack(op.warp(key, h, w).sampling()), in_axes=(None, 0, None, None)),
    static_argnums=(2, 3),
)


def sources(perturbation, shape, keys=KEYS):
    """Where each pixel reads, for many keys: `[keys, 2, H, W]`, rows then columns."""
    return np.asarray(read(perturbation, keys, *shape), float)


def test_shears_lean_by_their_angle_along_either_axis_to_either_side():
    reads = sources(image.Shear(degrees=jnp.float32(20.0)), (16, 20))
    y, x = np.mgrid[:16, :20].astype(float)
    slope = np.tan(np.deg2rad(20))
    lean = [(y + s * (x - 9.5), x) for s in (slope, -slope)] + [(y, x + s * (y - 7.5)) for s in (slope, -slope)]
    match = np.abs(reads[:, None] - np.array(lean)[None]).max(axis=(2, 3, 4)) < 1e-4
    assert (match.sum(axis=1) == 1).all()
    assert stats.chisquare(match.sum(axis=0)).pvalue > 1e-4


def test_perspective_is_the_projection_of_its_four_corners():
    reads = sources(image.Perspective(fraction=jnp.float32(0.2)), (16, 20))
    frame = np.array([[0, 0], [20, 0], [20, 16], [0, 16]]) - 0.5
    y, x = np.mgrid[:16, :20].astype(float)
    for key, (rows, columns) in zip(KEYS[:20], reads[:20], strict=True):
        shift = np.asarray(jax.random.uniform(key, (4, 2), jnp.float32, -1.0, 1.0), float) * 0.2 * [20, 16]
        matrix = np.zeros((8, 8))
        for i, ((u, v), (p, q)) in enumerate(zip(frame, frame + shift, strict=True)):
            matrix[2 * i] = [u, v, 1, 0, 0, 0, -p * u, -p * v]
            matrix[2 * i + 1] = [0, 0, 0, u, v, 1, -q * u, -q * v]
        a, b, c, d, e, f, g, h = np.linalg.solve(matrix, (frame + shift).ravel())
        under = g * x + h * y + 1
        np.testing.assert_allclose(columns, (a * x + b * y + c) / under, atol=1e-4)
        np.testing.assert_allclose(rows, (d * x + e * y + f) / under, atol=1e-4)


def test_crops_keep_their_share_of_the_area_anywhere_in_the_frame():
    reads = sources(image.CropResize(area=jnp.float32(0.25)), (16, 20))
    np.testing.assert_allclose(np.diff(reads[:, 0], axis=1), 0.5, atol=1e-5)
    np.testing.assert_allclose(np.diff(reads[:, 1], axis=2), 0.5, atol=1e-5)
    for axis, side in ((0, 16), (1, 20)):
        start = reads[:, axis, 0, 0] + 0.25  # the crop's edge, from the frame's
        assert start.min() >= 0 and start.max() <= side / 2
        assert stats.kstest(start / (side / 2), "uniform").pvalue > 1e-4


def test_lenses_follow_brown_and_conrady_with_equal_odds():
    reads = sources(image.LensDistortion(k1=jnp.float32(0.1), k2=jnp.float32(0.05)), (16, 20))
    y, x = np.mgrid[:16, :20].astype(float)
    y, x = y - 7.5, x - 9.5
    square = (y**2 + x**2) / (8**2 + 10**2)
    barrel, pincushion = (
        np.stack([v * (1 + s * (0.1 * square + 0.05 * square**2)) for v in (y, x)])
        + np.array([7.5, 9.5])[:, None, None]
        for s in (1, -1)
    )
    is_barrel = np.abs(reads - barrel).max(axis=(1, 2, 3)) < 1e-4
    assert (is_barrel ^ (np.abs(reads - pincushion).max(axis=(1, 2, 3)) < 1e-4)).all()
    assert stats.binomtest(int(is_barrel.sum()), ROWS).pvalue > 1e-4


def test_rolling_shutters_pan_and_tremble():
    pan = image.RollingShutter(pan=jnp.float32(0.2), vibration=jnp.float32(0.0), cycles=jnp.float32(3.0))
    reads = sources(pan, (16, 20))
    y, x = np.mgrid[:16, :20].astype(float)
    np.testing.assert_array_equal(reads[:, 0], np.broadcast_to(y, (ROWS, 16, 20)))
    slope = np.diff(reads[:, 1] - x, axis=1)
    np.testing.assert_allclose(np.abs(slope), 0.2 * 20 / 16, atol=1e-4)
    assert stats.binomtest(int((slope[:, 0, 0] > 0).sum()), ROWS).pvalue > 1e-4
    tremor = image.RollingShutter(pan=jnp.float32(0.0), vibration=jnp.float32(0.1), cycles=jnp.float32(2.0))
    shift = (sources(tremor, (16, 20))[:, 1] - x)[:, :, 0]
    waves = np.fft.fft(shift, axis=1) / 16
    np.testing.assert_allclose(2 * np.abs(waves[:, 2]), 0.1 * 20, atol=1e-4)
    assert np.abs(waves[:, [0, 1, 3, 4, 5, 6, 7, 8]]).max() < 1e-4
    assert stats.kstest(np.angle(waves[:, 2]) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-4


def test_water_displaces_by_its_amplitude_and_without_whirls():
    water = image.CausticRefraction(amplitude=jnp.float32(0.05), wavelength=jnp.float32(0.5))
    y, x = np.mgrid[:64, :64].astype(float)
    moved = sources(water, (64, 64)) - np.stack([y, x])
    np.testing.assert_allclose(np.sqrt((moved**2).sum(axis=1).mean()), 0.05 * 64, rtol=0.05)
    # A gradient field: its curl is zero, its divergence is not.
    inner = slice(1, -1)
    curl = np.gradient(moved[:, 1], axis=1) - np.gradient(moved[:, 0], axis=2)
    divergence = np.gradient(moved[:, 0], axis=1) + np.gradient(moved[:, 1], axis=2)
    assert np.sqrt((curl[:, inner, inner] ** 2).mean()) < 0.05 * np.sqrt((divergence[:, inner, inner] ** 2).mean())


@pytest.mark.parametrize("op", [image.LensDistortion, image.CausticRefraction], ids=lambda op: op.__name__)
def test_the_derivative_of_keypoints_is_that_of_the_map(op):
    def place(severity):
        return op.at(severity, size=32).warp(KEYS[3], 32, 32).keypoints(jnp.array([[20.0, 9.0]]))[0]

    place_of, slope = jax.jit(place), jax.jit(jax.jacfwd(place))
    difference = (place_of(2.51) - place_of(2.49)) / 0.02
    np.testing.assert_allclose(slope(2.5), difference, atol=2e-2)
    if op is image.LensDistortion:  # both go through the same steps of Newton's method
        np.testing.assert_allclose(jax.jit(jax.jacrev(place))(2.5), slope(2.5), atol=1e-3)
