"""CSV files as people write them."""

import pytest

from mammojax.datasets.table import read_table
from mammojax.errors import UserError


def table_of(tmp_path, data: bytes):
    (tmp_path / "t.csv").write_bytes(data)
    return read_table(tmp_path / "t.csv")


ROWS = [{"path": "Müller.png", "label": "1"}, {"path": "b.png", "label": "0"}]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends_do_not_matter(tmp_path, separator, end):
    text = (
        end.join(separator.join(line) for line in (("path", "label"), ("Müller.png", "1"), ("b.png", "0")))
        + end
    )
    assert [row.values for row in table_of(tmp_path, text.encode()).rows] == ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_encodings_do_not_matter(tmp_path, encoding):
    table = table_of(tmp_path, "path;label\nMüller.png;1\nb.png;0\n".encode(encoding))
    assert table.columns == ("path", "label") and [row.values for row in table.rows] == ROWS


@pytest.mark.parametrize("first", ["sep=;", "SEP=\t", "sep=; "])
def test_excels_first_line_names_the_separator(tmp_path, first):
    table = table_of(tmp_path, f"{first}\npath{first[4]}a,b,c\nx.png{first[4]}1\n".encode())
    assert table.columns == ("path", "a,b,c") and table.rows[0].line == 3


def test_quotes_hold_separators_line_ends_and_quotes(tmp_path):
    table = table_of(tmp_path, b'path,note\n"a, b.png","two\nlines, one ""word"""\nc.png,\n')
    assert [tuple(row.values.values()) for row in table.rows] == [
        ("a, b.png", 'two\nlines, one "word"'),
        ("c.png", ""),
    ]
    assert [row.line for row in table.rows] == [3, 4]


def test_short_rows_are_filled_long_ones_counted_and_empty_ones_left_out(tmp_path):
    table = table_of(tmp_path, b"path,label,,\na\n\n,,,\nb,1,,x,y\nc,0,,,,\n")
    assert table.columns == ("path", "label")
    assert [(row.values, row.surplus) for row in table.rows] == [
        ({"path": "a", "label": ""}, 0),
        ({"path": "b", "label": "1"}, 2),
        ({"path": "c", "label": "0"}, 0),
    ]


def test_a_column_is_found_whatever_its_case_if_only_one_fits(tmp_path):
    table = table_of(tmp_path, b"Path,LABEL,Label\n")
    assert (table.column("path"), table.column("label"), table.column("Label")) == ("Path", "", "Label")


@pytest.mark.parametrize(
    "data, says",
    [
        (b"path,label\na\0.png,1\n", "holds NUL bytes"),
        (b"path,label\na.png," + b"x" * 200_000 + b"\n", "no readable CSV near line 2"),
        (b'path,label\n"a.png,1\nb.png,0\n', "no readable CSV near line 3.*not closed"),
        (b"path,label,label\n", "has the column label twice"),
        (b",".join(b"c%d" % k for k in range(200_000)) + b"\n1,2\n", "has 200000 columns, at most 10000"),
    ],
)
def test_what_is_no_table_is_one_line_that_says_where(tmp_path, data, says):
    with pytest.raises(UserError, match=says) as error:
        table_of(tmp_path, data)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_an_empty_file_is_a_table_without_columns(tmp_path):
    assert table_of(tmp_path, b"").columns == () and table_of(tmp_path, b"\n\n").rows == ()


def test_a_column_whose_name_goes_over_two_lines_does_not_hide_the_separator(tmp_path):
    table = table_of(tmp_path, b'"Patient,\nid";"path";label\n7;a.png;1\n')
    assert table.columns == ("Patient,\nid", "path", "label") and len(table.rows) == 1


def test_numbers_that_are_told_to_be_text_are_that_text(tmp_path):
    table = table_of(tmp_path, b'path,patient\na.png,="007"\nb.png,"=""007"""\nc.png,="a"b\n')
    assert [row.values["patient"] for row in table.rows] == ["007", "007", '="a"b']
