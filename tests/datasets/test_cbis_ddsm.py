"""The CBIS-DDSM builder: layouts of the archive and of copies, merged images, splits; counts by the real label files."""

import shutil
from collections import Counter

import pytest
from distributions import dicom, picture, touch

from mammojax.datasets import accounts
from mammojax.datasets.builders.cbis_ddsm import CbisDdsm
from mammojax.datasets.labels import Dropped
from mammojax.datasets.listing import entries
from mammojax.datasets.prepare import prepare
from mammojax.datasets.table import read_table
from mammojax.errors import UserError

HEADER = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,mass margins,"
    "assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)


def uid(*numbers) -> str:
    return ".".join(map(str, ("1.3.6.1.4.1.9590", *numbers)))


def row(kind, part, patient, side, view, finding, grade, pathology) -> str:
    """A row as it is published: a newline stands inside the quotes of its last path."""
    series = f"{kind}-{part}_P_{patient:05d}_{side}_{view}"
    place = (kind == "Mass", part == "Test", patient, side == "LEFT", view == "CC")
    whole, crop = uid(*map(int, place), 1), uid(*map(int, place), finding, 2)
    fields = (f"P_{patient:05d}", 3, side, view, finding, kind.lower(), "OVAL", "N/A", grade, pathology, 4)
    paths = f'{series}/{whole}.7/{whole}.8/000000.dcm,{series}_{finding}/{crop}.7/{crop}.8/000001.dcm,"{series}_{finding}/{crop}.7/{crop}.8/000000.dcm\n"'
    return ",".join(map(str, fields)) + "," + paths


ROWS = {
    "mass_case_description_train_set.csv": [
        row("Mass", "Training", 1, "LEFT", "CC", 1, 3, "BENIGN"),
        row("Mass", "Training", 1, "LEFT", "CC", 2, 5, "MALIGNANT"),
        row("Mass", "Training", 1, "LEFT", "MLO", 1, 2, "BENIGN_WITHOUT_CALLBACK"),
        row("Mass", "Training", 2, "RIGHT", "CC", 1, 4, "BENIGN"),
    ],
    "calc_case_description_test_set.csv": [
        row("Calc", "Test", 2, "RIGHT", "CC", 1, 4, "MALIGNANT"),
        row("Calc", "Test", 3, "LEFT", "CC", 1, 0, "BENIGN"),
    ],
}


def tables(root):
    root.mkdir(parents=True, exist_ok=True)
    for name, rows in ROWS.items():
        (root / name).write_text("\r\n".join([HEADER, *rows]) + "\r\n", newline="")
    return root


@pytest.fixture
def archive(tmp_path):
    """The folders that the archive's retriever makes, PatientID of each series its own name."""
    root = tables(tmp_path / "CBIS-DDSM")
    for seed, name in enumerate(
        ("Mass-Training_P_00001_LEFT_CC", "Mass-Training_P_00001_LEFT_MLO", "Mass-Training_P_00002_RIGHT_CC",
         "Calc-Test_P_00002_RIGHT_CC", "Calc-Test_P_00003_LEFT_CC", "Mass-Training_P_00001_LEFT_CC_1")
    ):  # fmt: skip
        side = "R" if "RIGHT" in name else "L"
        dicom(root / name / "07-20-2016-DDSM" / "1.000000-full" / "1-1.dcm", seed, side, PatientID=name)
    return root


def test_patients_are_those_of_the_names_and_an_image_takes_its_worst_finding(archive):
    lines = []
    records = prepare("cbis_ddsm", archive, archive.parent / "prepared", say=lines.append)
    by_name = {r.record.partition("/")[0]: r for r in records.records}
    assert {name: r.label for name, r in by_name.items()} == {
        "Mass-Training_P_00001_LEFT_CC": 1,
        "Mass-Training_P_00001_LEFT_MLO": 0,
        "Calc-Test_P_00002_RIGHT_CC": 1,  # benign as a mass, malignant as a calcification
        "Calc-Test_P_00003_LEFT_CC": 0,
    }
    assert len(set(records.patients.tolist())) == 3
    assert (
        by_name["Mass-Training_P_00001_LEFT_CC"].patient == by_name["Mass-Training_P_00001_LEFT_MLO"].patient
    )
    reasons = accounts.reasons(accounts.read_accounts(records.directory))
    assert reasons == [
        ("dropped", "a crop or a mask of a finding, no whole mammogram", 1),
        ("dropped", "the same image as another file: it is stored under mass and under calc", 1),
    ]
    assert any("1 patients (1 whole images) are in a train and in a test file" in line for line in lines)


@pytest.mark.parametrize(
    ("part", "patients"),
    [("train", {1, 2}), ("test", {2, 3}), ("clean_train", {1, 2}), ("clean_test", {3})],
)
def test_the_clean_split_has_no_patient_twice(archive, part, patients):
    listed = entries(CbisDdsm.find(archive, archive), "malignant", part)
    kept = [e.source.patient for e in listed if not isinstance(e.verdict, Dropped)]
    assert {int(p[2:]) for p in kept} == patients
    outside = Counter(e.verdict.reason for e in listed if isinstance(e.verdict, Dropped))
    if patients != {1, 2, 3}:
        assert outside[f"outside the part {part} of the official split"] > 0


def test_a_part_that_is_not_offered_is_refused(archive):
    with pytest.raises(
        UserError, match="data.split is 'dev', which cbis_ddsm does not have; choose one of train"
    ):
        prepare("cbis_ddsm", archive, archive.parent / "prepared", split="dev")
    with pytest.raises(UserError, match="abnormal.*not offered"):
        prepare("cbis_ddsm", archive, archive.parent / "prepared", labels="abnormal")


@pytest.mark.parametrize("form", ["by series", "by name"])
def test_copies_are_found_by_their_series_or_their_name(archive, tmp_path, form):
    own = {s.file.partition("/")[0]: s for s in CbisDdsm.find(archive, archive)}
    copy = tables(tmp_path / "copy")
    for text in (line for rows in ROWS.values() for line in rows):
        for path in text.replace('"', "").split(",")[-3:-1]:  # full mammogram and crop
            folder, _, series, _ = path.split("/")
            name = f"jpeg/{series}/1-172.jpg" if form == "by series" else f"{folder}.png"
            if not (copy / name).exists():
                picture(copy / name, len(name))
    found = CbisDdsm.find(copy, copy)
    used = {(s.patient, s.laterality, s.view): s for s in found if s.facts and not s.left_out}
    assert {k: s.facts for k, s in used.items()} == {
        (s.patient, s.laterality, s.view): s.facts for s in own.values() if s.facts and not s.left_out
    }
    assert not any(s.missing for s in used.values())
    assert all("copy of the published DICOM file" in s.warnings[0] for s in used.values())
    assert sum("crop or a mask" in s.left_out for s in found) == 6


def test_dicom_files_that_lost_their_names_are_known_by_their_headers(archive, tmp_path):
    copy = tables(tmp_path / "copy")
    for number, path in enumerate(sorted(archive.rglob("*.dcm"))):
        shutil.copy(path, copy / f"1-{number}.dcm")
    found, own = (
        sorted(
            (s.patient, s.laterality, s.view, s.left_out, s.missing) for s in CbisDdsm.find(folder, folder)
        )
        for folder in (copy, archive)
    )
    assert found == own and len(found) == 6


def test_what_is_absent_and_what_is_not_listed_is_accounted_for(archive):
    shutil.rmtree(archive / "Mass-Training_P_00001_LEFT_MLO")
    touch(archive, "Mass-Training_P_00099_LEFT_CC/1/1/1-1.dcm", "figure.png")
    found = {s.file: s for s in CbisDdsm.find(archive, archive)}
    assert found["P_00001_L_MLO"].missing == "listed in the csv files, but the full mammogram is absent"
    assert found["figure.png"].facts is None
    assert found["Mass-Training_P_00099_LEFT_CC/1/1/1-1.dcm"].facts is None


def test_the_real_tables_give_the_published_counts(shared, tmp_path):
    """3,103 full-mammogram series of 3,032 images; the other counts are those of datasets.md too."""
    for path in (shared / "data/labels").glob("*_case_description_*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
        for line in read_table(path).rows:
            touch(tmp_path, f"{line.values['image file path'].partition('/')[0]}.dcm")
    lines = []
    found = CbisDdsm.find(tmp_path, tmp_path, say=lines.append)
    assert len(found) == 3103
    whole = [s for s in found if not s.left_out]
    assert len(whole) == 3032 and len({s.patient for s in whole}) == 1566
    assert not any(s.missing for s in whole)
    assert any("31 patients (29 whole images)" in line for line in lines)

    def labelled(scheme, part=""):
        kept = [e for e in entries(found, scheme, part) if not isinstance(e.verdict, Dropped)]
        return kept, sum(e.verdict for e in kept)

    kept, positive = labelled("malignant")
    assert (len(kept), positive) == (3032, 1347)
    assert len({e.source.patient for e in kept if e.verdict}) == 752
    kept, positive = labelled("birads_4_vs_2")
    assert (positive, len(kept) - positive) == (2049, 342)
    for part, images, patients in (("clean_train", 2441, 1248), ("clean_test", 591, 318)):
        kept, _ = labelled("malignant", part)
        assert (len(kept), len({e.source.patient for e in kept})) == (images, patients)
