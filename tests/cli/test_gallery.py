"""The gallery: what is on the sheet, and `sensijax gallery`, in this process."""

import doctest
import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from sensijax import cli, data
from sensijax.cli import _gallery as command_line
from sensijax.core import ArgumentError
from sensijax.perturb import chain, image
from sensijax.report import _gallery as sheet
from sensijax.report import gallery


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def pixels(figure):
    with Image.open(io.BytesIO(command_line.encoded(figure, "png"))) as file:
        return np.asarray(file.convert("RGB"))


def boxes(figure):
    """Pictures as (left, right, top, bottom), px."""
    return np.array([[p.get_extent()[i] for i in (0, 1, 3, 2)] for p in figure.axes[0].images])


# --- the sheet -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three():
    return gallery([image.Contrast, image.Fog, chain(image.GaussianNoise, image.Contrast)], size=32)


def test_a_row_shows_every_severity_of_one_perturbation(three):
    assert len(three.axes) == 1 and len(three.axes[0].images) == 3 * 6
    drawn = [np.asarray(picture.get_array()) for picture in three.axes[0].images]
    original = np.round(255 * data.photo().reshape(32, 7, 32, 7, 3).mean((1, 3), dtype=np.float32)).astype(np.uint8)
    for row in range(3):
        np.testing.assert_array_equal(drawn[6 * row], original)
        assert len({picture.tobytes() for picture in drawn[6 * row : 6 * row + 6]}) == 6
    faded = [picture.astype(float).std() for picture in drawn[:6]]
    assert faded == sorted(faded, reverse=True)


def test_names_and_parameters_are_written(three):
    written = texts(three)
    assert written[0] == "3 perturbations at severities 0 to 5"
    assert "severity scale of 32 px, seed 0" in written[1]
    assert {"Contrast", "Fog", "factor", "density\ndecay", "0.75", "0.2  3", "1.5  1.75"} <= set(written)
    assert "Gaussian\nNoise>>\nContrast" in written and "std\nfactor" in written


def test_pictures_are_evenly_placed_and_within_the_sheet(three):
    left, right, top, bottom = boxes(three).T
    width, height = 100 * three.get_size_inches()
    assert left.min() > 100 and right.max() == pytest.approx(width - sheet._MARGIN)
    assert top.min() > 60 and bottom.max() < height - sheet._MARGIN
    assert (right - left == sheet._PICTURE).all() and (bottom - top == sheet._PICTURE).all()
    assert len(np.unique(np.diff(np.unique(left)))) == len(np.unique(np.diff(np.unique(top)))) == 1
    shown = pixels(three)
    assert shown.shape == (round(height), round(width), 3)
    assert (shown[:20] == 255).all() and (shown[:, -20:] == 255).all() and (shown[-20:] == 255).all()


def test_no_text_runs_into_a_picture_or_another_text(three):
    # All of them, without computing a picture: what is written depends on the scales alone.
    x = np.zeros((8, 8, 3), np.uint8)
    rows = []
    for op in image.ALL:
        names, captions = sheet._parameters(op.at(np.arange(6.0, dtype=np.float32)))
        rows.append(sheet._Row(op.__name__, names, captions, np.stack(6 * [x])))
    figure = sheet._sheet(rows, (8, 8), "about")
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.axes[0]
    places = [(t.get_text(), t.get_window_extent(renderer)) for t in axes.texts if t.get_text()]
    pictures = [("a picture", p.get_window_extent(renderer)) for p in axes.images]
    assert len(places) > 7 * len(rows)
    overlaps = [
        (a, b)
        for i, (a, box) in enumerate(places)
        for b, other in places[i + 1 :] + pictures
        if box.x0 < other.x1 and other.x0 < box.x1 and box.y0 < other.y1 and other.y0 < box.y1
    ]
    assert not overlaps
    left = boxes(figure)[:, 0]
    assert len(np.unique(left)) == 12, "two blocks of six columns"


def test_a_perturbation_that_does_not_take_the_image_says_so():
    x = np.full((8, 12, 1), 0.5, np.float32)
    figure = gallery([image.Saturate, image.Contrast], x)
    assert len(figure.axes[0].images) == 6
    assert "not on this image: 3 channels: a grey image has no saturation" in texts(figure)
    left, right, top, bottom = boxes(figure).T
    assert (right - left == sheet._PICTURE).all() and (bottom - top == round(sheet._PICTURE * 8 / 12)).all()


def test_what_cannot_be_drawn_is_refused():
    for arguments, match in (
        (([],), "at least one"),
        (([len],), "perturbation classes"),
        (([image.Fog], np.zeros((4, 8, 8, 3), np.float32)), "jax.vmap"),
        (([image.Fog], np.zeros((8, 8, 3), np.uint8)), "float32 in"),
    ):
        with pytest.raises(ArgumentError, match=match):
            gallery(*arguments)
    with pytest.raises(ArgumentError, match="224 or 32"):
        gallery([image.Fog], size=64)


def test_the_seed_decides_the_draws_and_progress_is_told():
    seen = []
    one, other = (
        np.asarray(gallery([image.GaussianNoise], size=32, seed=s, progress=lambda *p: seen.append(p)).axes[0].images[5]
                   .get_array())
        for s in (0, 1)
    )  # fmt: skip
    assert np.any(one != other)
    assert seen[:2] == [(0, 1, "GaussianNoise"), (1, 1, "")]


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_a_picture_and_says_when_it_wrote_over_one(command, tmp_path):
    path = tmp_path / "sheets" / "my [red]gallery.png"
    code, out, err = command("gallery", "--op", "Contrast", "fog", "Contrast", "--size", 32, "--out", path)
    assert (code, err) == (cli.OK, "") and out.startswith(f"wrote {path}: 0.")
    with Image.open(path) as file:
        assert file.format == "PNG" and file.size[0] > 700
    code, out, _ = command("gallery", "--op", "contrast", "--size", 32, "--seed", 3, "--out", path)
    assert code == cli.OK and out.startswith(f"wrote over {path}: 0.")


def test_a_jpeg_is_as_good_as_fits(three, monkeypatch):
    best = command_line.encoded(three, "jpeg")
    assert best[:2] == b"\xff\xd8" and len(best) < command_line.JPEG_BYTES
    monkeypatch.setattr(command_line, "JPEG_BYTES", 2 * len(best) // 3)
    small = command_line.encoded(three, "jpeg")
    assert len(best) / 4 < len(small) <= 2 * len(best) // 3
    with Image.open(io.BytesIO(small)) as file:
        difference = np.asarray(file, float) - pixels(three)
    assert np.abs(difference).mean() < 4


def test_unknown_names_and_files_are_told(command, tmp_path):
    code, out, err = command("gallery", "--op", "Fogg")
    assert (code, out) == (cli.BAD_INPUT, "") and "`--op`: got 'Fogg'; did you mean 'Fog'?" in err
    code, _, err = command("gallery", "--op", "fog", "--out", tmp_path / "gallery.bmp")
    assert code == cli.BAD_INPUT and ".png, .jpg" in err
    code, _, err = command("gallery", "--op", "fog", "--image", tmp_path / "absent.png")
    assert code == cli.IO_ERROR and "absent.png" in err
    (tmp_path / "text.png").write_text("no picture")
    code, _, err = command("gallery", "--op", "fog", "--image", tmp_path / "text.png")
    assert code == cli.BAD_INPUT and "a picture that Pillow can read" in err
    (tmp_path / "file").write_text("")
    code, _, err = command("gallery", "--op", "contrast", "--size", 32, "--out", tmp_path / "file" / "gallery.png")
    assert code == cli.IO_ERROR and str(tmp_path) in err


def test_an_image_of_ones_own(command, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 64), np.uint8)).save(tmp_path / "grey.png")
    code, out, err = command(
        "gallery", "--op", "contrast", "--size", 32, "--image", tmp_path / "grey.png", "--out", tmp_path / "g.jpg"
    )
    assert code == cli.OK and out.startswith(f"wrote {tmp_path / 'g.jpg'}")
    assert err.strip() == f"{tmp_path / 'grey.png'}: the middle square of 64x40 px, reduced to 32x32 px"


@pytest.mark.parametrize(
    ("mode", "shape", "channels"),
    [("L", (30, 30), 1), ("RGB", (30, 30, 3), 3), ("RGBA", (30, 30, 4), 3), ("LA", (30, 30, 2), 1), ("P", (30, 30), 3)],
)
def test_files_of_all_kinds_are_read(tmp_path, mode, shape, channels):
    values = np.full(shape, 51, np.uint8)
    if mode == "P":
        picture = Image.fromarray(np.full((30, 30, 3), 51, np.uint8)).quantize(4)
    else:
        if mode in ("LA", "RGBA"):
            values[..., -1] = 255
        picture = Image.fromarray(values, mode)
    picture.save(tmp_path / "file.png")
    x, changes = command_line.read_image(tmp_path / "file.png", 32)
    assert x.shape == (32, 32, channels) and x.dtype == np.float32 and changes == "enlarged to 32x32 px"
    np.testing.assert_allclose(x, 0.2, atol=1e-6)


def test_what_is_transparent_is_white_and_16_bits_are_read(tmp_path):
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (command_line.read_image(tmp_path / "clear.png", 32)[0] == 1).all()
    Image.fromarray(np.full((32, 32), 13107, np.uint16)).save(tmp_path / "deep.png")
    x, changes = command_line.read_image(tmp_path / "deep.png", 32)
    assert x.shape == (32, 32, 1) and changes == ""
    np.testing.assert_allclose(x, 0.2, atol=1e-6)


def test_a_photo_that_is_turned_by_its_exif_data_is_turned(tmp_path):
    values = np.zeros((32, 32), np.uint8)
    values[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(values).save(tmp_path / "turned.jpg", exif=exif)
    x, _ = command_line.read_image(tmp_path / "turned.jpg", 32)
    assert x[:15].mean() < 0.1 and x[17:].mean() > 0.9


def test_the_example_in_the_documentation_runs():
    assert doctest.testmod(sheet) == doctest.TestResults(failed=0, attempted=3)
