"""What gets one score, and which images belong side by side."""

from types import SimpleNamespace

import numpy as np
import pytest

from mammojax.datasets.samples import other_view, partner, samples
from mammojax.errors import UserError


def exam(*rows):
    """A set of (patient, laterality, view, label) in order; an unknown side makes the breast the image's own."""
    records = [
        SimpleNamespace(
            record=f"{i}.dcm",
            patient=f"hash {p}",
            breast=f"hash {p} {side or i}",
            breast_stated=False,
            laterality=side,
            view=view,
            label=label,
        )
        for i, (p, side, view, label) in enumerate(rows)
    ]

    class Set:
        labels = np.asarray([r.label for r in records], np.int32)
        patients = np.asarray([p for p, *_ in rows], np.int64)

        def __len__(self):
            return len(records)

    Set.records = tuple(records)
    return Set()


SCREENING = exam(
    (0, "L", "CC", 0), (0, "L", "MLO", 1), (0, "R", "CC", 0), (0, "R", "MLO", 0), (1, "R", "MLO", 0)
)


def test_images_are_their_own_samples():
    found = samples(SCREENING, "image")
    assert [m.tolist() for m in found.members] == [[0], [1], [2], [3], [4]]
    assert found.names == tuple(r.record for r in SCREENING.records) and len(found) == 5
    assert found.labels.tolist() == [0, 1, 0, 0, 0] and found.patients.tolist() == [0, 0, 0, 0, 1]


def test_a_breast_and_a_patient_take_the_largest_label_of_their_images():
    breasts, patients = samples(SCREENING, "breast"), samples(SCREENING, "patient")
    assert [m.tolist() for m in breasts.members] == [[0, 1], [2, 3], [4]]
    assert breasts.labels.tolist() == [1, 0, 0] and breasts.patients.tolist() == [0, 0, 1]
    assert [m.tolist() for m in patients.members] == [[0, 1, 2, 3], [4]]
    assert patients.labels.tolist() == [1, 0] and patients.patients.tolist() == [0, 1]
    assert len(set(breasts.names)) == 3 and patients.names == ("patient 1", "patient 2")


def test_an_unknown_level_names_the_known_ones():
    with pytest.raises(UserError, match="unknown sample 'study'; choose one of image, breast, patient"):
        samples(SCREENING, "study")


def test_the_other_breast_and_the_other_view_are_found_by_patient_side_and_view():
    assert partner(SCREENING).tolist() == [2, 3, 0, 1, -1]
    assert other_view(SCREENING).tolist() == [1, 0, 3, 2, -1]


def test_unknown_sides_and_views_have_neither_partner_nor_other_view():
    rows = exam((0, "", "CC", 0), (0, "", "CC", 0), (0, "L", "", 0), (0, "R", "", 0), (0, "L", "CC", 0))
    assert partner(rows).tolist() == [-1] * 5 and other_view(rows).tolist() == [-1] * 5
    assert [m.tolist() for m in samples(rows, "breast").members] == [[0], [1], [2, 4], [3]]


def test_breasts_that_the_data_set_tells_apart_are_partners_though_no_side_is_known():
    films = exam((0, "", "MLO", 0), (0, "", "MLO", 1), (1, "", "MLO", 0))
    for record in films.records:
        record.breast_stated = True  # mini-MIAS: two films a patient, one a breast
    assert partner(films).tolist() == [1, 0, -1]


def test_of_several_exposures_the_first_goes_with_the_first_and_so_on():
    rows = exam((0, "L", "CC", 0), (0, "L", "CC", 0), (0, "L", "CC", 0), (0, "R", "CC", 0), (0, "R", "CC", 0))
    assert partner(rows).tolist() == [3, 4, 4, 0, 1]


def test_the_other_standard_view_is_preferred_to_a_further_one():
    rows = exam((0, "L", "ML", 0), (0, "L", "CC", 0), (0, "L", "MLO", 0))
    assert other_view(rows).tolist() == [1, 2, 1]


def test_no_one_is_partnered_with_another_patient_or_the_same_breast():
    rng = np.random.default_rng(0)
    rows = exam(
        *((int(p), str(s), str(v), 0) for p, s, v in zip(
            rng.integers(0, 6, 60), rng.choice(["L", "R", ""], 60), rng.choice(["CC", "MLO", "ML", ""], 60)))
    )  # fmt: skip
    for i, (j, k) in enumerate(zip(partner(rows), other_view(rows))):
        mine = rows.records[i]
        if j >= 0:
            other = rows.records[j]
            assert other.patient == mine.patient and other.view == mine.view
            assert {other.laterality, mine.laterality} == {"L", "R"}
        if k >= 0:
            other = rows.records[k]
            assert other.breast == mine.breast and other.view != mine.view
