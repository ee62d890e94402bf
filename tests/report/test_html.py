"""The report and its figures, read back as a browser reads them."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from mammojax.evaluation.statistics import ARM_NAMES, Predictions, summarise, written
from mammojax.report import figures
from mammojax.report.html import Picture, write_report

HOSTILE = '<script>alert(\'x\')</script>" onload="y" & {{ 7 * 7 }}'


class Page(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def arms():
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(60), 2)
    labels = (owner % 3 == 0).astype(int)
    scores = [0.8 * labels + rng.normal(size=120) for _ in ARM_NAMES]
    return {arm: Predictions([f"record-{i}" for i in range(120)], [f"patient-{k}" for k in owner], owner % 5, labels,
                             s, s - 1) for arm, s in zip(ARM_NAMES, scores)}  # fmt: skip


@pytest.fixture(scope="module")
def summary(arms):
    return summarise(arms, seed=0, resamples=50)


@pytest.fixture(scope="module")
def report(arms, summary, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "report.html"
    curve = figures.svg(figures.roc_figure(arms, summary))
    write_report(
        path, title=HOSTILE, command=HOSTILE, data_set={HOSTILE: HOSTILE}, losses=[("rejected", HOSTILE, 3)],
        summary=summary, proposed="auc", pictures=[Picture(HOSTILE, HOSTILE, curve)], config={HOSTILE: [HOSTILE]},
        environment={"python": HOSTILE}, notes=[HOSTILE],
    )  # fmt: skip
    return path.read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(report):
    page = Page(report)
    assert (
        not page.all("script") and not page.all("link") and not page.all("iframe") and not page.all("object")
    )
    sources = [a[name] for _, a in page.elements for name in ("src", "href", "srcset") if name in a]
    assert sources and all(s.startswith("data:") for s in sources)
    assert not re.search(r"@import|url\(", report)
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    policy = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy and policy[0].startswith("default-src 'none'")


def test_hostile_text_is_shown_as_it_is(report):
    # title, heading, command, fact name and value, reason, picture, caption, note: wherever text goes in
    assert Page(report).text.count(HOSTILE) == 9


def test_every_auc_stands_with_its_interval(report, summary):
    text = Page(report).text.replace("\u00a0", " ")
    for arm, result in summary.arms.items():
        assert ARM_NAMES[arm] in text and written(result.mean) in text and written(result.pooled) in text
    for difference in summary.differences.values():
        assert written(difference.mean, signed=True) in text


def test_no_record_and_no_patient_is_named(report, arms):
    embedded = "".join(base64.b64decode(data).decode() for data in re.findall(r"base64,([^\"]+)\"", report))
    some = next(iter(arms.values()))
    assert not [name for name in {*some.records, *some.patients} if name in report or name in embedded]


def test_every_picture_has_a_text_and_every_head_cell_a_scope(report):
    page = Page(report)
    assert page.all("img") and all(image.get("alt", "").strip() for image in page.all("img"))
    assert page.all("th") and all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


def test_the_same_results_make_the_same_bytes(arms, summary, tmp_path):
    for name in ("one", "two"):
        figures.save_figure(figures.reliability_figure(arms), tmp_path / name)
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_svg_figures_hold_no_date_and_refer_to_nothing_outside(arms, summary):
    text = figures.svg(figures.table_figure(summary)).decode()
    assert "<dc:date>" not in text
    # names of vocabularies are not loaded; links would stand in href
    assert all(target.startswith("#") for target in re.findall(r"href=\"([^\"]+)\"", text))


def test_arms_have_colours_of_their_own_fine_tuned_ones_too():
    names = [*ARM_NAMES, *(f"{arm}_finetuned" for arm in ("bce", "weighted_bce", "auc"))]
    assert len({figures.style(arm)[0] for arm in names}) == len(names)


def test_the_mean_curve_compares_folds_at_the_same_step():
    # folds of different size are evaluated at other steps; both rise by 0.01 a step
    folds = [([10, 20, 30], [0.5, 0.6, 0.7]), ([12, 24, 36], [0.52, 0.64, 0.76])]
    figure = figures.training_curves_figure({"auc": dict(enumerate(folds))}, {})
    (mean,) = [line for line in figure.axes[0].lines if line.get_linewidth() > 2]
    steps, values = mean.get_data()
    np.testing.assert_allclose(values, 0.4 + 0.01 * np.asarray(steps), atol=1e-12)
    assert min(steps) == 12 and max(steps) == 30


def test_figures_of_one_arm_without_interval_are_drawn(arms):
    some = next(iter(arms.values()))
    perfect = Predictions(**(vars(some) | {"scores": some.labels, "calibrated": some.labels}))
    summary = summarise({"own_arm": perfect}, seed=0, resamples=20, proposed="own_arm")
    for figure in (
        figures.roc_figure({"own_arm": perfect}, summary),
        figures.table_figure(summary),
        figures.reliability_figure({"own_arm": perfect}),
        figures.score_figure("own_arm", perfect),
    ):
        assert figures.svg(figure).startswith(b"<?xml")
