"""The table as people and as programs read it."""

import json

import numpy as np
import pytest
from studies import altered, study

from mammojax.evaluation.metrics import METRICS, Metric
from mammojax.evaluation.predictions import LEVELS
from mammojax.report.findings import Finding
from mammojax.report.summary import summarise
from mammojax.report.table import table_json, table_markdown, written

TITLES = {"bce": "Logistic loss", "auc": "AUC | ours"}


def summary_of(repeats=1, **changes):
    rng = np.random.default_rng(0)
    first = altered(study(rng, repeats=repeats, noise=0.5), **changes)
    other = altered(first, calibrated=first.calibrated + rng.normal(size=len(first)))
    return summarise({"bce": other, "auc": first}, proposed="auc", seed=0, resamples=50)


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_json_is_what_programs_were_told(repeats):
    summary = summary_of(repeats)
    table = json.loads(json.dumps(table_json(summary), allow_nan=False))
    assert table["proposed"] == "auc" and list(table["arms"]) == ["bce", "auc"]
    for arm, levels in table["arms"].items():
        assert list(levels) == list(LEVELS)
        for level, here in levels.items():
            for metric in ("mean", "pooled", "average_precision", "sensitivity_at_90"):
                assert set(here[metric]) == {"value", "low", "high"}
                assert here[metric]["value"] == summary.arms[arm][level].estimates[metric].value
            assert (here["repeats_sd"] is None) == (repeats == 1)
            assert list(here["folds"]) == [str(r) for r in range(repeats)]
            assert len(here["folds"]["0"]) == 5
    assert list(table["differences"]) == ["bce"]
    assert set(table["differences"]["bce"]["breast"]["mean"]) == {"value", "low", "high"}


def test_what_is_undefined_is_null():
    table = table_json(summary_of(labels=np.zeros(192)))
    assert table["arms"]["auc"]["image"]["mean"] == {"value": None, "low": None, "high": None}
    json.dumps(table, allow_nan=False)


@pytest.mark.parametrize("repeats", [1, 3])
def test_every_number_of_the_markdown_stands_with_its_interval(repeats):
    summary = summary_of(repeats)
    text = table_markdown(summary, TITLES)
    for levels in summary.arms.values():
        assert all(written(e) in text for level in levels.values() for e in level.estimates.values())
    for levels in summary.differences.values():
        assert all(written(level["mean"], signed=True) in text for level in levels.values())
    assert ("SD of repeats" in text) == (repeats > 1) and ("One repeat" in text) == (repeats == 1)


def test_the_markdown_is_tables_of_as_many_cells_as_their_heads_whatever_a_title_holds():
    text = table_markdown(summary_of(3), TITLES).replace("\\|", "")
    block = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line.count("|"))
        elif block:
            assert len(set(block)) == 1 and len(block) > 2
            block = []


def test_no_interval_and_no_number_are_written_in_words():
    table = table_markdown(summary_of(calibrated=study(np.random.default_rng(0)).labels), TITLES)
    assert "1.000 (no interval)" in table and "do not vary" in table
    table = table_markdown(summary_of(labels=np.zeros(192)), TITLES)
    assert "not defined" in table and "50 resamples had no fold with both classes of breasts" in table


def test_a_metric_is_one_line(monkeypatch):
    def youden(positives, negatives):
        return (positives / positives[-1] - negatives / negatives[-1]).max(axis=0)

    monkeypatch.setitem(METRICS, "youden", Metric("Youden's index", youden))
    summary = summary_of()
    estimate = summary.arms["auc"]["breast"].estimates["youden"]
    assert 0 < estimate.low < estimate.value < estimate.high < 1
    assert "Youden's index" in table_markdown(summary, TITLES)
    assert table_json(summary)["differences"]["bce"]["patient"]["youden"]["value"] is not None


def test_a_finding_too_is_a_table_whatever_a_title_holds():
    finding = Finding("Beside", ("Arm", "Films | images"), (("AUC | ours", "1 | 2"),), "A note.", {})
    lines = [line for line in finding.markdown().splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in lines} == {3} and len(lines) == 3
