"""What reports say of attacks: numbers, words, pictures; in a campaign's report and in an evaluation's own."""

import base64
import io
import re
import shutil

import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

import sensijax as sj
from sensijax import attack
from sensijax.attack import Flag, wilson
from sensijax.campaign import Evaluated, Evaluation, evaluate
from sensijax.perturb import image
from sensijax.report import _attack_words, write_attack_report

HOSTILE = '<script>alert("1")</script>\'&'


def digits(n):
    """As in conftest: bright above or bright below; the margin of an example is about as wide as the budgets."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = rng.uniform(0.3, 0.5, (n, 8, 8, 1)).astype(np.float32)
    x[y == 0, :4] += np.float32(0.06)
    x[y == 1, 4:] += np.float32(0.06)
    w = np.repeat([[1.0, -1.0], [-1.0, 1.0]], 32, axis=0).astype(np.float32)
    return sj.Dataset(x, y, name=f"data {HOSTILE}"), w


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    data, w = digits(40)
    model = sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, w, name=f"model {HOSTILE}", classes=(HOSTILE, "below"))
    sweep = sj.sweep(attack.PGD, eps=[0.02, 0.035, 0.1], steps=4)
    return evaluate(Evaluation(model, data, sweep), tmp_path_factory.mktemp("evaluated") / "run")


@pytest.fixture(scope="module")
def page(evaluated, tmp_path_factory):
    return write_attack_report(evaluated, tmp_path_factory.mktemp("page") / "report.html").read_text()


@pytest.fixture(scope="module")
def campaign_page(tmp_path_factory):
    data, w = digits(40)
    model = sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, jnp.asarray(w), name="model")
    stages = {
        "noise": sj.sweep(image.GaussianNoise, severity=[0, 1]),
        "pgd": sj.sweep(attack.PGD, eps=[0, 0.035, 0.1], steps=4),
        "blur": sj.sweep(image.GaussianNoise, std=[0.0, 0.01]),
    }
    design = sj.design.pairs(at={"noise": 1, "pgd": 0.035, "blur": 0.01})
    results = sj.run(
        sj.Campaign(model, data, stages, design=design, seeds=2), tmp_path_factory.mktemp("run") / "run", micro_batch=64
    )
    return results, results.report().read_text()


def test_the_page_stands_alone_and_trusts_no_name(page):
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|@import|url\(\s*["']?(https?:)?//""", page)
    assert HOSTILE not in page and "<script" not in page and page.count("&lt;script") > 3


def test_numbers_are_those_of_the_results(evaluated, page):
    n = 40
    for result in evaluated.results:
        low, high = wilson(int(result.robust.sum()), n)
        assert f"≤ {100 * result.robust_accuracy:.1f}%" in page
        assert f"{100 * low:.1f} to {100 * high:.1f}" in page
    robust = [result.robust_accuracy for result in evaluated.results]
    assert 1 > robust[0] > robust[1] > robust[2], "the fixture has something to tell"
    assert "upper bound" in page and "falls by construction" in page


def test_pictures_show_what_was_stored(evaluated, page):
    urls = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(urls) == 3 * len(evaluated.shown) == 18
    shown = [matplotlib.image.imread(io.BytesIO(base64.b64decode(url))) for url in urls]
    for one, clean, adversarial, difference in zip(evaluated.shown, *(shown[k::3] for k in range(3)), strict=True):
        result, row = evaluated.results[one["budget"]], one["row"]
        np.testing.assert_allclose(clean[..., 0], result.x[row][..., 0], atol=0.003)
        np.testing.assert_allclose(adversarial[..., 0], result.x_adv[row][..., 0], atol=0.003)
        delta = result.x_adv[row] - result.x[row]
        largest = np.abs(delta).max()
        np.testing.assert_allclose(difference[..., 0], (delta[..., 0] / largest + 1) / 2, atol=0.003)
        assert f"× {0.5 / largest:.3g}" in page
        assert one["seen"] != result.y[row]
    assert "enlarged" in page


def test_flags_are_told_and_the_number_is_not_trusted(evaluated, tmp_path):
    flags = (Flag("zero_gradient", "distrust", "it saw <nothing>", "it matters", "mend it"),)
    import dataclasses

    flagged = dataclasses.replace(
        evaluated, results=tuple(dataclasses.replace(r, flags=flags) for r in evaluated.results)
    )
    page = write_attack_report(flagged, tmp_path / "report.html").read_text()
    assert "Do not trust the robust accuracies below. They are upper bounds" in page
    assert "it saw &lt;nothing&gt;" in page and "do not trust the number" in page
    assert "The robust accuracy cannot be trusted." in page and "stroke-dasharray" in page


def test_the_same_results_give_the_same_bytes(evaluated, page, tmp_path):
    folder = shutil.copytree(evaluated.folder, tmp_path / "run")
    assert write_attack_report(Evaluated.open(folder)).read_text() == page


@pytest.mark.parametrize(
    ("robust", "said"),
    [
        ([30, 20], "Half of what was right is lost at"),
        ([30, 0], "Nothing withstands."),
    ],
)
def test_headlines_say_no_more_than_the_counts(evaluated, robust, said):
    import dataclasses

    results = []
    for count in robust:
        status = np.where(np.arange(40) < count, 0, 1).astype(np.uint8)
        status[39] = attack.STATUSES.index("misclassified")
        results.append(dataclasses.replace(evaluated.results[0], status=status, flags=()))
    leads = [lead for lead, _ in _attack_words.headline(results, (0.1, 0.2), ())]
    assert (said in " ".join(leads)) == (robust[1] < 20)
    assert leads[-1] == "This is an upper bound."


@pytest.mark.parametrize(
    ("eps", "written"),
    [(8 / 255, "8/255"), (0.5 / 255, "0.5/255"), (0.1, "0.1"), (0.5, "0.5"), (1.0, "1"), (0.3, "0.3")],
)
def test_budgets_are_written_as_people_do(eps, written):
    assert _attack_words.budget(eps) == written


def test_a_campaigns_report_has_its_attacks(campaign_page):
    results, page = campaign_page
    section = page.split('<section id="attacks">')[1].split("</section>")[0]
    assert "pgd: PGD in the linf norm" in section and "upper bound" in section and 'href="#attacks"' in page
    pgd = np.stack([results.scores(name).min(axis=0).sum() for name in ("clean", "pgd@0.035", "pgd@0.1")])
    assert pgd[0] > pgd[1] > pgd[2]
    for count in pgd:
        assert f"<b>{100 * count / 40:.1f}%</b>" in section
    assert "withstood under all 2 seeds" in section
    urls = re.findall(r'src="data:image/png;base64,([^"]+)"', section)
    x, adversarial, _ = (matplotlib.image.imread(io.BytesIO(base64.b64decode(url)))[..., 0] for url in urls[:3])
    assert len(urls) == 18 and 0.09 < np.abs(adversarial - x).max() <= 0.1 + 1 / 255 and "seen as" in section
    assert "but not the stages after it" in page and "“sensijax attack” does" in page


def test_a_report_without_attacks_is_silent_about_them(classification, tmp_path):
    page = classification.report(tmp_path / "report.html").read_text()
    assert 'id="attacks"' not in page and "stronger attack" not in page
