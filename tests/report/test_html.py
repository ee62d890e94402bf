"""The report and its figures, read back as a browser reads them."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from studies import altered, study

from mammojax.evaluation.predictions import LEVELS
from mammojax.report import figures
from mammojax.report.findings import Finding
from mammojax.report.html import Picture, write_report
from mammojax.report.summary import summarise
from mammojax.report.table import counted, written

TITLES = {
    "resize224_svm": "Baseline 1: resized, SVM",
    "bce": "Logistic loss",
    "auc": "AUC loss",
    "exam": "Read with its exam",
}
COLOURS = dict(zip(TITLES, ("#7f7f7f", "#0072b2", "#d55e00", "#332288")))
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


@pytest.fixture(scope="module", params=[1, 3])
def arms(request):
    rng = np.random.default_rng(0)
    first = study(rng, repeats=request.param)
    return {arm: altered(first, calibrated=first.calibrated + rng.normal(size=len(first))) for arm in TITLES}


@pytest.fixture(scope="module")
def summary(arms):
    return summarise(arms, proposed="auc", seed=0, resamples=50)


@pytest.fixture(scope="module")
def report(arms, summary, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "report.html"
    curve = figures.svg(figures.roc_figure(arms, TITLES, COLOURS))
    write_report(
        path, title=HOSTILE, command=HOSTILE, data_set={HOSTILE: HOSTILE}, losses=[("rejected", HOSTILE, 3)],
        summary=summary, titles=TITLES | {"bce": HOSTILE}, pictures=[Picture(HOSTILE, HOSTILE, curve)],
        config={HOSTILE: [HOSTILE]}, environment={"python": HOSTILE}, notes=[HOSTILE],
        findings=[Finding(HOSTILE, (HOSTILE, HOSTILE), ((HOSTILE, HOSTILE),), HOSTILE, {})],
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


def test_hostile_text_is_shown_as_it_is(report, summary):
    # title, heading, command, fact name and value, reason, picture, caption, note: wherever text goes in; and an arm's
    # title in the overview, three levels, three tables of differences and the folds of every repeat; six times in a finding
    assert Page(report).text.count(HOSTILE) == 9 + 7 + summary.repeats + 6


def test_every_number_stands_with_its_interval_at_every_level(report, summary):
    text = Page(report).text.replace("\u00a0", " ")
    for arm, levels in summary.arms.items():
        assert arm == "bce" or TITLES[arm] in text
        for level in LEVELS:
            assert all(written(estimate) in text for estimate in levels[level].estimates.values())
            assert counted(level, levels[level]) in text
    for levels in summary.differences.values():
        for level in LEVELS:
            assert all(written(estimate, signed=True) in text for estimate in levels[level].values())


def test_it_is_said_what_the_interval_holds_and_what_the_spread_of_repeats_is(report, summary):
    text = Page(report).text
    assert "other patients would change" in text
    assert ("SD of repeats" in text) == (summary.repeats > 1)
    assert ("One repeat" in text) == (summary.repeats == 1)


def test_every_picture_has_a_text_and_every_head_cell_a_scope(report):
    page = Page(report)
    assert page.all("img") and all(image.get("alt", "").strip() for image in page.all("img"))
    assert page.all("th") and all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


def test_the_same_results_make_the_same_bytes(tmp_path):
    first = study(np.random.default_rng(0), repeats=2)
    arms = {"bce": first, "auc": altered(first, calibrated=-first.calibrated)}
    for name in ("one", "two"):
        figures.save_figure(figures.reliability_figure(arms, TITLES, COLOURS), tmp_path / name)
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_svg_figures_hold_no_date_and_refer_to_nothing_outside(summary):
    text = figures.svg(figures.table_figure(summary, TITLES, COLOURS)).decode()
    assert "<dc:date>" not in text
    # names of vocabularies are not loaded; links would stand in href
    assert all(target.startswith("#") for target in re.findall(r"href=\"([^\"]+)\"", text))


def test_a_title_is_drawn_as_it_is_written_dollars_and_all(arms, summary):
    titles = {arm: rf"{arm}: $\nothing$ and {{_^" for arm in TITLES}
    for figure in (
        figures.table_figure(summary, titles, COLOURS),
        figures.roc_figure(arms, titles, COLOURS),
        figures.score_figure(arms["auc"], title=titles["auc"]),
    ):
        assert figures.svg(figure).startswith(b"<?xml")


def test_in_grey_no_two_of_sixteen_arms_look_alike():
    titles = {f"arm {k}": "" for k in range(16)}
    assert len({(figures.line(arm, titles), figures.marker(arm, titles)) for arm in titles}) == 16


def test_the_mean_curve_compares_folds_at_the_same_step():
    # folds of different size are evaluated at other steps; both rise by 0.01 a step
    folds = [([10, 20, 30], [0.5, 0.6, 0.7]), ([12, 24, 36], [0.52, 0.64, 0.76])]
    figure = figures.training_curves_figure({"auc": dict(enumerate(folds))}, {}, TITLES, COLOURS)
    (mean,) = [line for line in figure.axes[0].lines if line.get_linewidth() > 2]
    steps, values = mean.get_data()
    np.testing.assert_allclose(values, 0.4 + 0.01 * np.asarray(steps), atol=1e-12)
    assert min(steps) == 12 and max(steps) == 30


def test_reliability_counts_an_image_once_however_many_repeats_there_are(arms):
    figure = figures.reliability_figure(arms, TITLES, COLOURS)
    assert {text.get_text() for axes in figure.axes for text in axes.texts} == {"192 images"}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("lacking", ["an interval", "a class"])
def test_figures_of_one_arm_without_interval_or_without_a_class_are_drawn(lacking):
    first = study(np.random.default_rng(0))
    values = {"calibrated": first.labels} if lacking == "an interval" else {"labels": np.zeros(len(first))}
    arms, titles, colours = {"own": altered(first, **values)}, {"own": "One's own"}, {"own": "#000000"}
    summary = summarise(arms, resamples=20, proposed="own", seed=0)
    for figure in (
        figures.roc_figure(arms, titles, colours),
        figures.table_figure(summary, titles, colours),
        figures.reliability_figure(arms, titles, colours),
        figures.score_figure(arms["own"], title="One's own"),
    ):
        assert figures.svg(figure).startswith(b"<?xml")
