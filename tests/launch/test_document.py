"""Tables of documents: taken whole from a run, put between their marks, nothing else touched."""

import re

import pytest

from launch.document import BLOCK, first_table, section
from mammojax.errors import UserError

TABLE = "AUC, mean over folds:\n\n| Arm | Image |\n| :-- | :-- |\n| **Ours** | 0.9 |\n\n**Image**: 5 images.\n\n| Arm |\n"


def test_the_first_table_ends_where_the_levels_begin_though_an_arm_is_set_off():
    assert first_table(TABLE).splitlines()[-1] == "| **Ours** | 0.9 |"
    assert first_table(TABLE).startswith("AUC, mean over folds:\n\n| Arm")


def test_only_the_block_of_the_name_is_written():
    page = "a\n<!-- table one -->\nold\n<!-- end of table -->\nb\n<!-- table one-two -->\nold\n<!-- end of table -->\n"
    new = re.sub(BLOCK.format(name="one"), r"\1new\n\3", page, flags=re.DOTALL)
    assert new == page.replace("old", "new", 1)


def test_a_section_is_taken_by_its_heading_and_a_wrong_one_is_said():
    text = TABLE + "\n**Chosen inside**\n\n| Arm | Inner AUC |\n| :-- | :-- |\n| Ours | 0.8 |\n\nA note.\n"
    assert section(text, "Chosen inside") == "| Arm | Inner AUC |\n| :-- | :-- |\n| Ours | 0.8 |\n"
    with pytest.raises(UserError, match="no section 'Absent'; its own are .*Chosen inside"):
        section(text, "Absent")
    page = "<!-- table one: Chosen inside -->\nold\n<!-- end of table -->\n<!-- table one -->\nold\n<!-- end of table -->\n"
    found = [m["heading"] for m in re.finditer(BLOCK.format(name="one"), page, re.DOTALL)]
    assert found == ["Chosen inside", None]
