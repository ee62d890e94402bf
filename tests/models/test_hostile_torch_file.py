"""Files of torch that mean harm by their size or by what they hold end at once, in one line."""

import io
import time
import zipfile

import numpy as np
import pytest
from torch_files import Storage, Tensor, old_format, read, zip_format

from mammojax.errors import UserError


def by_hand(*instructions: bytes) -> bytes:
    """A zip whose pickle is written instruction by instruction."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"".join(instructions) + b".")
    return file.getvalue()


NAME = b"X\x01\x00\x00\x00a"  # BINUNICODE "a"
DOUBLE = b"".join(
    b"(h" + bytes([i]) + b"h" + bytes([i]) + b"tq" + bytes([i + 1]) for i in range(60)
)  # 2^60 leaves
DICTS = b"}q\x00" + b"".join(
    b"}q"
    + bytes([i + 1])
    + NAME
    + b"h"
    + bytes([i])
    + b"s"
    + b"X\x01\x00\x00\x00b"
    + b"h"
    + bytes([i])
    + b"s"
    for i in range(60)
)


@pytest.mark.parametrize(
    "data",
    {
        "a key that would take 2^60 steps to hash": by_hand(b"}(q\x00", NAME, b"q\x00", DOUBLE, NAME, b"u"),
        "dicts that hold one another 2^60 times": by_hand(DICTS),
        "a dict that holds itself": by_hand(b"}q\x00", NAME, b"h\x00s"),
        "a parameter that holds itself": by_hand(
            b"}", NAME, b"ctorch.nn.parameter\nParameter\n)\x81q\x00(h\x00NNNNtbs"
        ),
        "a place in memory far beyond": by_hand(b"}r\xff\xff\xff\x7fj\xff\xff\xff\x7e"),
        "a string longer than the file": by_hand(b"X\xff\xff\xff\x7fabc"),
        "nothing on the stack": by_hand(b"0000"),
        "a mark that is not there": by_hand(b"t"),
        "attributes of a name": by_hand(b"ccollections\nOrderedDict\n}", NAME, NAME, b"sb"),
        "code by reduction": by_hand(b"cposix\nsystem\n(", NAME, b"tR"),
        "an extension code": by_hand(b"\x82\x01"),
        "a stack global": by_hand(NAME, NAME, b"\x93"),
    }.items(),
    ids=lambda item: item[0],
)
def test_pickles_that_would_take_for_ever_or_hold_what_no_state_dict_holds_end_at_once(tmp_path, data):
    start = time.monotonic()
    with pytest.raises(UserError, match="cannot be read as torch weights"):
        read(tmp_path, data[1])
    assert time.monotonic() - start < 300  # a hang: it takes milliseconds


def test_storages_that_the_file_does_not_hold_are_refused_before_memory_is_taken(tmp_path):
    class Forged(Storage):
        values = range(2**40)  # what the file says; nothing is stored

        def __init__(self):
            self.key = "0"

    state = {"w": Tensor(Forged(), 0, (2**40,), (1,))}
    for data in (zip_format(state, []), old_format(state, [])):
        with pytest.raises(UserError, match="its storages are larger than the file"):
            read(tmp_path, data)


def test_tensors_that_repeat_one_storage_without_end_are_refused(tmp_path):
    storage = Storage("0", np.arange(1000))
    state = {f"w{i}": Tensor(storage, 0, (1000,), (0,)) for i in range(5)}
    with pytest.raises(UserError, match="far larger than what is stored"):
        read(tmp_path, zip_format(state, [storage]))


def test_a_compressed_archive_is_refused_for_it_could_be_a_bomb(tmp_path):
    storage = Storage("0", np.zeros(10**6))
    state = {"w": Tensor(storage, 0, (10**6,), (1,))}
    with pytest.raises(UserError, match="is compressed"):
        read(tmp_path, zip_format(state, [storage], zipfile.ZIP_DEFLATED))
