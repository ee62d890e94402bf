"""A folder of the wrong data set is told what it looks like instead."""

import pytest
from distributions import touch

from mammojax.datasets.builders import BUILDERS
from mammojax.datasets.prepare import builder_class, looks_like, prepare
from mammojax.errors import UserError
from mammojax.settings.tree import Folder as FolderColumns

FILES = {
    "mias": ("mdb001.pgm", "mdb002.pgm"),
    "inbreast": ("AllDICOMs/20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm",),
    "cbis_ddsm": ("Calc-Test_P_00038_LEFT_CC/1/1/1-1.dcm", "jpeg/1.3/1-1.jpg"),
    "vindr_mammo": ("images/a/b.dicom", "breast-level_annotations.csv"),
    "cmmd": ("D1-0001/1/1/1-1.dcm",),
    "rsna": ("train_images/10006/462822612.dcm", "train.csv"),
}


@pytest.mark.parametrize("name", FILES)
def test_each_set_is_told_by_the_names_of_its_files(tmp_path, name):
    touch(tmp_path, *FILES[name])
    assert looks_like(tmp_path) == name
    other = "mias" if name != "mias" else "rsna"
    with pytest.raises(UserError, match=f"is not .* The folder looks like {name}: data.name={name}"):
        prepare(other, tmp_path, tmp_path / "prepared")
    with pytest.raises(UserError, match=f"The folder looks like {name}: data.name={name}"):
        prepare("folder", tmp_path, tmp_path / "prepared", options=vars(FolderColumns()))


def test_a_folder_of_no_known_set_looks_like_none(tmp_path):
    touch(tmp_path, "a.dcm", "labels.txt")
    assert looks_like(tmp_path) == ""
    with pytest.raises(UserError, match="Info.txt is absent") as caught:
        prepare("mias", tmp_path, tmp_path / "prepared")
    assert "looks like" not in str(caught.value)


def test_every_set_says_how_it_is_obtained_and_has_a_scheme():
    for name in BUILDERS:
        builder = builder_class(name)
        assert len(builder.HOW.split()) > 8 and builder.SCHEMES
        assert name in FILES or name in ("phantom", "folder")
