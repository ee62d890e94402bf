"""What is known of how films were taken, and the groups that it makes."""

from types import SimpleNamespace

import numpy as np

from mammojax.report.acquisition import acquisition_of, groups_of


def record(number=1, *, bits=12, spacing=(0.1, 0.1), view="CC", **facts):
    return SimpleNamespace(number=number, bits=bits, spacing=spacing, view=view, laterality="L", **facts)


class Films:
    """Two films of 40 x 24 pixels, in reverse order of their numbers; the breast of the first is its left half."""

    records = (record(9, height=40, width=24), record(2, height=40, width=24, spacing=None))

    def __len__(self):
        return 2

    def image(self, i):
        return np.full((40, 24), 4095 if i == 0 else 0, np.uint16)

    def tissue(self, i):
        tissue = np.zeros((5, 3), np.uint8)
        tissue[:, :1] = 255
        return tissue


def test_facts_are_in_the_order_of_the_numbers_with_nan_for_what_is_unknown():
    found = acquisition_of(Films())
    assert found.facts[:, :3].tolist() == [[40, 24, 5], [40, 24, 5]]
    assert found.facts[:, 3].tolist() == [0.0, 1.0]  # mean grey of the breast, of its range
    assert np.isnan(found.facts[0, 5]) and found.facts[1, 5] == 0.1
    assert list(found.groups) == ["spacing unknown", "0.1 mm"]


def test_groups_name_what_varies_and_the_rarest_are_one():
    assert groups_of([record(), record()]) == ["all films", "all films"]
    assert groups_of([record(), record(view="MLO")]) == ["CC", "MLO"]
    assert groups_of([record(bits=8), record(view="")]) == ["8 bits, CC", "12 bits, view unknown"]
    many = groups_of([record(bits=b) for b in (8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 14)])
    assert many[:2] == ["8 bits"] * 2 and many[-2:] == ["others"] * 2 and len(set(many)) == 6
