"""The RSNA builder, on a table in the published form."""

import pytest
from distributions import dicom, picture, touch

from mammojax.datasets.builders.rsna import Rsna
from mammojax.datasets.listing import entries
from mammojax.datasets.prepare import prepare
from mammojax.errors import UserError

TABLE = (
    "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,density,machine_id,"
    "difficult_negative_case\n"
    "2,10006,462822612,L,CC,61.0,0,0,0,,0,,29,False\n"
    "2,10006,1459541791,L,MLO,61.0,0,0,0,,0,,29,False\n"
    "1,10011,220375232,R,CC,55.0,1,1,1,0.0,1,B,49,False\n"
    "1,10011,541722628,R,AT,55.0,1,1,1,0.0,1,B,49,False\n"
)
NAMES = ("10006/462822612", "10006/1459541791", "10011/220375232", "10011/541722628")


@pytest.fixture
def competition(tmp_path):
    root = tmp_path / "rsna"
    for seed, name in enumerate(NAMES):
        dicom(root / "train_images" / f"{name}.dcm", seed, "L" if seed < 2 else "R", PatientID=name[:5])
    (root / "train.csv").write_text(TABLE)
    (root / "test.csv").write_text("site_id,patient_id,image_id,laterality,view,age,implant\n")
    return root


def test_the_breasts_cancer_is_the_label(competition):
    touch(competition, "test_images/10008/736471439.dcm")
    records = prepare("rsna", competition, competition.parent / "prepared")
    by_name = {r.record: r for r in records.records}
    found = [by_name[f"train_images/{name}.dcm"] for name in NAMES]
    assert [(r.laterality, r.view, r.label) for r in found] == [
        ("L", "CC", 0), ("L", "MLO", 0), ("R", "CC", 1), ("R", "", 1)
    ]  # fmt: skip
    assert len(records) == 4 and len(set(records.patients.tolist())) == 2
    assert "breast implant of the patient, by the table" in found[2].warnings
    assert any("view: the table's" in w for w in found[3].warnings)


@pytest.mark.parametrize("form", ["{}.png", "{}.jpg"])
@pytest.mark.parametrize("flat", [True, False])
def test_copies_are_found_by_image(competition, tmp_path, form, flat):
    copy = tmp_path / "copy"
    for seed, name in enumerate(NAMES):
        picture(copy / form.format(name.replace("/", "_") if flat else name), seed)
    (copy / "train.csv").write_text(TABLE)
    found, own = ({s.path.stem.rpartition("_")[2]: s for s in Rsna.find(f, f)} for f in (copy, competition))
    assert {k: (s.patient, s.facts, s.device) for k, s in found.items()} == {
        k: (s.patient, s.facts, s.device) for k, s in own.items()
    }
    assert found["220375232"].device == "site 1, machine 49"
    assert not any(s.missing for s in found.values())


def test_a_folder_without_labels_is_refused(competition):
    (competition / "train.csv").unlink()
    with pytest.raises(UserError, match="is not the RSNA set: train.csv is absent"):
        Rsna.find(competition, competition)


def test_an_image_in_two_rows_takes_the_worst_and_a_spreadsheets_decimals_do_not_matter(competition):
    text = (
        TABLE.replace("10006,462822612,", "10006.0,462822612.0,", 1)
        + "2,10006,462822612,L,CC,61.0,1,1,1,,0,,29,False\n"
    )
    (competition / "train.csv").rename(competition / "Train.csv")
    (competition / "Train.csv").write_text(text)
    listed = {e.source.file[-13:-4]: e for e in entries(Rsna.find(competition, competition), "malignant")}
    assert listed["462822612"].verdict == 1 and len(listed) == 4
    assert len({e.source.patient for e in listed.values()}) == 2
