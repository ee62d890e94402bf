"""The look before the run: planted shortcuts are found and named, alike sets give none, duplicates are seen."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mammojax.datasets.prepare import prepare
from mammojax.errors import UserError
from mammojax.settings.tree import Folder as FolderColumns
from mammojax.survey.films import Films, films_of, indicators
from mammojax.survey.page import survey
from mammojax.survey.shortcut import differences, same_pixels, shortcut_auc


def set_of(n=120, seed=0) -> Films:
    """Films of n / 2 patients, two each; nothing of their acquisition has to do with the label."""
    rng = np.random.default_rng(seed)
    patients = np.arange(n) // 2
    labels = (rng.random(n // 2) < 0.4).astype(np.int32)[patients]
    words = {"file": ["PNG"] * n, "device": [("one", "two")[k] for k in rng.integers(0, 2, n)]}
    words |= {name: ["no"] * n for name in ("inverted", "burned-in letters", "implant")}
    measured = {"rows": rng.normal(3000, 200, n), "grey of the background": rng.random(n)}
    measured["mm a pixel"] = np.where(rng.random(n) < 0.1, np.nan, 0.07)
    return Films(labels, patients, np.arange(1, n + 1), measured, words, np.full((n, 32), 1 / 32),
                 tuple(map(str, range(n))))  # fmt: skip


def test_alike_acquisition_tells_nothing_and_warns_of_nothing():
    """Of 60 patients a null AUC has a standard error of some 0.06: three of them on either side."""
    found = shortcut_auc(set_of(), seed=0)
    assert abs(found.value - 0.5) < 0.18 and found.low <= 0.5
    warned = [d.name for seed in range(4) for d in differences(set_of(seed=seed), seed=0) if d.warned]
    assert len(warned) <= 2  # of 4 x 5 facts, each with a chance of some 5%


@pytest.mark.parametrize("planted", ["device", "rows", "missing spacing"])
def test_a_planted_shortcut_is_found_and_named(planted):
    films = set_of()
    labels, measured, named = films.labels, dict(films.measured), dict(films.named)
    if planted == "device":
        named["device"] = [("one", "two")[label] for label in labels]
    elif planted == "rows":
        measured["rows"] = measured["rows"] + 600 * labels
    else:
        measured["mm a pixel"] = np.where(labels == 1, np.nan, 0.07)
    films = replace(films, measured=measured, named=named)
    found = shortcut_auc(films, seed=0)
    assert found.value > 0.9 and not found.low <= 0.5  # an AUC of 1 has no interval
    if planted != "missing spacing":  # of what is not known no median can be told
        first = differences(films, seed=0)[0]
        assert first.warned and first.name.partition(":")[0] == planted


def test_what_does_not_vary_is_no_fact_and_small_classes_are_not_measured():
    films = set_of(20)
    names, facts = indicators(films)
    assert facts.shape == (20, len(names)) and not any(name.startswith("file") for name in names)
    one = replace(films, labels=(films.patients == 0).astype(np.int32))
    assert shortcut_auc(one, seed=0) is None
    told = replace(one, measured={"rows": 3000.0 + one.labels})
    assert differences(told, seed=0)[0].estimate.value == 1 and not differences(told, seed=0)[0].warned


def test_equal_pixels_are_told_with_whose_they_are_and_whether_labels_differ():
    films = set_of(8)
    films = replace(
        films, pixels=("a", "a", "b", "c", "b", "d", "e", "f"), labels=np.asarray([0, 0, 1, 1, 0, 0, 1, 1])
    )
    assert same_pixels(films) == [([1, 2], False, False), ([3, 5], True, True)]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Twenty-four films of twelve patients; positives are wider, and two patients share one picture as PNG and TIFF."""
    source = tmp_path_factory.mktemp("survey") / "source"
    source.mkdir()
    rows = ["path,patient,label,laterality,view"]
    for k in range(24):
        positive = int(k // 2 % 2 == 0)
        height, width = 60, 40 + 12 * positive
        y, x = np.mgrid[:height, :width]
        film = np.random.default_rng(k).normal(2000, 100, (height, width))
        film = np.where((y - 30) ** 2 / 500 + x**2 / 700 < 1, film, 20).astype(np.uint16)
        Image.fromarray(film).save(source / f"JANE{k}.png")
        rows.append(f"JANE{k}.png,ANNA{k // 2},{positive},L,CC")
        if k == 0:
            Image.fromarray(film).save(source / "JANE99.tiff")
            rows.append("JANE99.tiff,ANNA7,0,L,CC")
    (source / "table.csv").write_text("\n".join(rows))
    options = vars(FolderColumns())
    return prepare("folder", source, source.parent / "prepared", options=options, depth=12)


def test_facts_are_those_of_the_files(records):
    films = films_of(records)
    widths = [40 + 12 * r.label for r in records.records]
    widths[[r.record for r in records.records].index("JANE99.tiff")] = 52
    assert films.measured["columns"].tolist() == widths and set(films.measured["rows"]) == {60}
    assert sorted(set(films.named["file"])) == ["PNG", "TIFF"]
    assert np.allclose(films.histograms.sum(axis=1), 1, atol=0.01)
    # tissue is at 2000 of 4095, background at 20
    assert (films.histograms.argmax(axis=1) == 2000 * 32 // 4096).all()
    assert np.allclose(films.measured["grey of the background"], 20 / 4095, atol=1e-4)
    assert films.measured["bright marks beside the breast"].max() == 0


def test_the_page_holds_everything_and_no_name_of_a_file(records, tmp_path):
    found = survey(records, tmp_path, folds=2, seed=0, command="python -m launch.inspect")
    text = found.page.read_text(encoding="utf-8")
    assert found.shortcut is not None and f"AUC {found.shortcut.value:.3f}" in text
    assert any("columns" in warning for warning in found.warnings)
    assert any("1 pictures lie under several patients" in warning for warning in found.warnings)
    assert "52 x" not in text and "60 x 52" in text and "By fold of the first repeat" in text
    assert "JANE" not in text and "ANNA" not in text and "http" not in text.replace("http-equiv", "")
    assert text.count("data:image/png") == 2  # the histogram and one page of films
    again = survey(records, tmp_path, folds=2, seed=0, command="python -m launch.inspect").page
    assert again.read_text(encoding="utf-8") == text


def test_a_set_of_an_earlier_version_says_what_to_do(records, tmp_path, monkeypatch):
    from mammojax.datasets import acquisition

    monkeypatch.setattr(acquisition, "FILE", "absent.json")
    with pytest.raises(UserError, match="prepared by an earlier version.*remove that folder"):
        survey(records, tmp_path, folds=2, seed=0, command="")
