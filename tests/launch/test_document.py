"""Tables of documents: taken whole from a run, put between their marks, nothing else touched."""

import re

from launch.document import BLOCK, first_table

TABLE = "AUC, mean over folds:\n\n| Arm | Image |\n| :-- | :-- |\n| **Ours** | 0.9 |\n\n**Image**: 5 images.\n\n| Arm |\n"


def test_the_first_table_ends_where_the_levels_begin_though_an_arm_is_set_off():
    assert first_table(TABLE).splitlines()[-1] == "| **Ours** | 0.9 |"
    assert first_table(TABLE).startswith("AUC, mean over folds:\n\n| Arm")


def test_only_the_block_of_the_name_is_written():
    page = "a\n<!-- table one -->\nold\n<!-- end of table -->\nb\n<!-- table one-two -->\nold\n<!-- end of table -->\n"
    new = re.sub(BLOCK.format(name="one"), r"\1new\n\2", page, flags=re.DOTALL)
    assert new == page.replace("old", "new", 1)
