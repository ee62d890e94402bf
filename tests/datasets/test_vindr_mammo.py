"""The VinDr-Mammo builder, on tables in the published form: the real ones may not be passed on."""

import shutil

import pytest
from distributions import dicom, picture, touch

from mammojax.datasets import accounts
from mammojax.datasets.builders.vindr_mammo import VindrMammo
from mammojax.datasets.listing import entries
from mammojax.datasets.prepare import prepare
from mammojax.errors import UserError

BREASTS = (
    "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,breast_density,split\n"
)
FINDINGS = (
    "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,breast_density,"
    "finding_categories,finding_birads,xmin,ymin,xmax,ymax,split\n"
)
IMAGES = (
    ("s1", "i1", "L", "CC", "BI-RADS 4", "training"),
    ("s1", "i2", "L", "MLO", "BI-RADS 4", "training"),
    ("s1", "i3", "R", "CC", "BI-RADS 1", "training"),
    ("s2", "i4", "R", "MLO", "BI-RADS 3", "test"),
    ("s2", "i5", "L", "CC", "BI-RADS 2", "test"),
)


@pytest.fixture
def release(tmp_path):
    root = tmp_path / "vindr-mammo-1.0.0"
    text = BREASTS
    for seed, (study, image, side, view, grade, part) in enumerate(IMAGES):
        dicom(root / "images" / study / f"{image}.dicom", seed, side)
        text += f"{study},x,{image},{side},{view},48,32,{grade},DENSITY C,{part}\n"
    (root / "breast-level_annotations.csv").write_text(text)
    start = ",x,{},L,CC,48,32,BI-RADS 4,DENSITY C,"
    text = (
        FINDINGS
        + "s1"
        + start.format("i1")
        + "\"['Mass', 'Skin Retraction']\",BI-RADS 4,10,20,30,28,training\n"
    )
    text += "s1" + start.format("i2") + "['Skin Thickening'],BI-RADS 4,,,,,training\n"
    text += "".join(
        f"{study}" + start.format(image) + f"['No Finding'],,,,,,{part}\n"
        for study, image, _, _, _, part in IMAGES[2:]
    )
    (root / "finding_annotations.csv").write_text(text)
    return root


def test_breasts_have_their_birads_and_exams_are_patients(release):
    records = prepare("vindr_mammo", release, release.parent / "prepared")
    assert [(r.record[-8:-6], r.laterality, r.view, r.label) for r in records.records] == [
        ("i1", "L", "CC", 1),
        ("i2", "L", "MLO", 1),
        ("i3", "R", "CC", 0),
        ("i5", "L", "CC", 0),
    ]
    assert records.patients.tolist() == [0, 0, 0, 1]
    assert accounts.reasons(accounts.read_accounts(records.directory)) == [("dropped", "BI-RADS 3", 1)]


def test_parts_are_those_of_the_table(release):
    kept = prepare("vindr_mammo", release, release.parent / "prepared", split="train", labels="abnormal")
    assert kept.labels.tolist() == [1, 1, 0]
    reasons = accounts.reasons(accounts.read_accounts(kept.directory))
    assert reasons == [("dropped", "outside the part train of the official split", 2)]


def test_boxes_become_circles_and_findings_without_a_box_none(release):
    found = {s.path.stem: s for s in VindrMammo.find(release, release)}
    (lesion,) = found["i1"].lesions
    assert (lesion["row"], lesion["column"], lesion["radius"]) == (24, 20, 10)
    assert lesion["kind"] == "Mass, Skin Retraction"
    assert found["i2"].lesions == () and found["i2"].facts.abnormal and not found["i3"].facts.abnormal


def test_copies_by_image_absent_files_and_other_folders(release, tmp_path):
    copy = tmp_path / "copy"
    for name in ("breast-level_annotations.csv", "finding_annotations.csv"):
        copy.mkdir(exist_ok=True)
        shutil.copy(release / name, copy)
    picture(copy / "i1.png", 1)
    touch(copy, "other.png")
    found = {s.path.stem: s for s in VindrMammo.find(copy, copy)}
    assert found["i1"].lesions == () and "PNG copy" in found["i1"].warnings[0]
    assert found["i2"].missing and found["other"].facts is None
    (copy / "breast-level_annotations.csv").write_text("study_id,split\n1,training\n")
    with pytest.raises(UserError, match="has the columns study_id, split; expected study_id, image_id"):
        VindrMammo.find(copy, copy)


def test_an_image_in_two_rows_takes_the_worst_whatever_its_letters(release):
    table = release / "breast-level_annotations.csv"
    table.write_text(table.read_text() + "s1,x,I3,R,CC,48,32,BI-RADS 5,DENSITY C,training\n")
    listed = {
        e.source.file[-8:-6]: e.verdict for e in entries(VindrMammo.find(release, release), "birads_4_vs_2")
    }
    assert listed["i3"] == 1 and len(listed) == len(IMAGES)
