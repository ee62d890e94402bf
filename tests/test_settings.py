"""Settings: what is taken, what is refused and in which words, and that nothing is lost on the way to a file and back."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammojax.errors import UserError
from mammojax.settings import (
    Settings,
    defaults,
    explain,
    fields_from,
    from_mapping,
    further_sets,
    to_mapping,
    with_overrides,
)
from mammojax.settings.check import element, is_tuple, parsed
from mammojax.settings.leaves import leaves, value_of

FLAGS = {path: leaf for path, leaf in leaves().items() if path != "arms"}
NUMBERS = [leaf for leaf in FLAGS.values() if element(leaf) in (int, float)]
WORDS = st.text(  # without blanks of any kind, which around a word are no part of it
    st.characters(exclude_characters=",:'\"()[]=", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]),
    min_size=1,
)


def refused(path, value) -> str:
    """The one line that says why a value is not taken, from a config file."""
    *sections, name = path.split(".")
    nested = {name: value}
    for section in reversed(sections):
        nested = {section: nested}
    with pytest.raises(UserError) as error:
        from_mapping(nested)
    assert "\n" not in str(error.value)
    return str(error.value)


def values_of(leaf):
    """What a field takes, from the facts that the tree states."""
    kind, facts = element(leaf), leaf.facts
    if facts["choices"]:
        one = st.sampled_from(facts["choices"])
    elif kind is bool:
        one = st.booleans()
    elif kind is str:
        one = WORDS.map(lambda text: "a") if leaf.path.startswith("crossval.") else WORDS
    else:
        low = facts["least"] if facts["least"] is not None else facts["above"]
        high = facts["most"] if facts["most"] is not None else facts["below"]
        one = (st.integers if kind is int else st.floats)(low, high)
        one = one.filter(lambda x: x != facts["above"] and x != facts["below"])
    return st.lists(one, min_size=1, max_size=3).map(tuple) if is_tuple(leaf) else one


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_settings_come_back_from_json_and_from_what_is_typed_as_they_were(data):
    paths = data.draw(st.lists(st.sampled_from(sorted(FLAGS)), unique=True, max_size=8))
    nested = defaults()
    for path in paths:
        *sections, name = path.split(".")
        branch = nested
        for section in sections:
            branch = branch[section]
        branch[name] = value = data.draw(values_of(FLAGS[path]))
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert parsed(FLAGS[path], text) == value  # floats print as they are read
        assert parsed(FLAGS[path], repr(value) if isinstance(value, tuple) else text) == value
    nested["arms"] = {"mine": {"base": "auc", "model": {"paper": {"filters": (8, 8)}}}}
    built = fields_from(nested)
    assert to_mapping(built) == nested
    assert fields_from(json.loads(json.dumps(to_mapping(built)))) == built


def test_every_field_is_explained_bounded_and_takes_its_own_default():
    assert from_mapping({}) == from_mapping(defaults()) == Settings()
    for leaf in FLAGS.values():
        assert leaf.facts["sentence"].endswith("."), leaf.path
    for leaf in NUMBERS:
        low, high = (("least", "above"), ("most", "below"))
        assert any(leaf.facts[name] is not None for name in low), leaf.path
        assert any(leaf.facts[name] is not None for name in high), leaf.path


@pytest.mark.parametrize("leaf", NUMBERS, ids=lambda leaf: leaf.path)
def test_a_number_out_of_its_range_or_of_another_type_is_refused_by_name(leaf):
    facts = leaf.facts
    bad = [math.nan, math.inf, -math.inf, True, "3", None, [], {}, 10**400]
    bad += [facts["above"]] if facts["above"] is not None else [facts["least"] - 1]
    bad += [facts["below"]] if facts["below"] is not None else [facts["most"] + 1]
    bad += [1.5] if element(leaf) is int else []
    for value in bad:
        for whole in ((value,), [value]) if is_tuple(leaf) else (value,):
            assert f"config.{leaf.path} is " in refused(leaf.path, whole)


@pytest.mark.parametrize(
    "path, value, line",
    [
        (
            "training.learning_rate",
            -1.0,
            "config.training.learning_rate is -1.0; expected a number above 0 and at most 100",
        ),
        (
            "training.regularisation",
            -1,
            "config.training.regularisation is -1; expected a number from 0 to 1000",
        ),
        ("training.clip", -1, "config.training.clip is -1; expected a number from 0 to 1e+06"),
        ("training.warmup", 5, "config.training.warmup is 5; expected a number from 0 to 1"),
        ("augmentation.scaling", -1.5, "config.augmentation.scaling is -1.5; expected a number from 0 to 1"),
        ("model.max_side", -5, "config.model.max_side is -5; expected a whole number from 0 to 65536"),
        ("scan.batch", -3, "config.scan.batch is -3; expected a whole number from 0 to 4096"),
        ("data.margin", 50, "config.data.margin is 50; expected a number from 0 to 0.5"),
        ("model.np", 1000, "config.model.np is 1000; expected a whole number from 1 to 256"),
        (
            "model.paper.dropout",
            2,
            "config.model.paper.dropout is 2; expected a number at least 0 and below 1",
        ),
        (
            "model.paper.filters",
            (8, 0),
            "config.model.paper.filters is (8, 0); expected a tuple of whole numbers from 1 to 8192, such as "
            "(256, 128, 256)",
        ),
        (
            "loss.pairs",
            "bufer",
            "config.loss.pairs is 'bufer'; expected one of batch, buffer, two_pass; did you mean buffer?",
        ),
        ("data.strict", 1, "config.data.strict is 1; expected true or false"),
        ("data.source", 3, "config.data.source is 3; expected text"),
        ("data.source", "a\0b", "config.data.source is 'a\\x00b'; expected text"),
        ("crossval.arms", "bce", "config.crossval.arms is 'bce'; expected a tuple of texts, such as"),
        ("crossval.arms", (), "config.crossval.arms is (); expected a tuple of texts, such as"),
        (
            "model.pooled.statistics",
            ("men",),
            "expected some of mean, top, bottom, deviation; did you mean mean?",
        ),
        ("run", "", "config.run is empty; give a folder"),
        ("training.epoch", 3, "config.training.epoch is no field; did you mean config.training.epochs?"),
        ("trainig", {"epochs": 3}, "config.trainig is no field; did you mean config.training?"),
        ("data.np", 3, "config.data.np is no field; did you mean config.model.np?"),
        ("zzz", 3, "config.zzz is no field; --help shows every field"),
        (
            "training",
            3,
            "config.training is a section; give one of its fields, such as config.training.epochs",
        ),
        ("seed.x", 3, "config.seed is {'x': 3}; expected a whole number from 0"),
    ],
)
def test_what_is_refused_says_what_was_found_and_what_is_expected(path, value, line):
    assert line in refused(path, value)


def test_whole_numbers_are_numbers_and_lists_are_tuples():
    built = from_mapping({"training": {"clip": 2}, "model": {"paper": {"hidden": [16]}}})
    assert built.training.clip == 2.0 and isinstance(built.training.clip, float)
    assert built.model.paper.hidden == (16,)


@pytest.mark.parametrize(
    "path, text, value",
    [
        ("training.epochs", "40", 40),
        ("training.learning_rate", "1e-3", 1e-3),
        ("data.strict", "True", True),
        ("data.strict", "no", False),
        ("data.source", "a, b", "a, b"),
        ("data.labels", "", ""),
        ("model.paper.filters", "8,8", (8, 8)),
        ("model.paper.filters", "(8,)", (8,)),
        ("model.paper.filters", "8", (8,)),
        ("crossval.arms", "bce,auc", ("bce", "auc")),
        ("crossval.arms", "('bce','auc')", ("bce", "auc")),
        ("crossval.arms", "(bce, auc)", ("bce", "auc")),
        ("crossval.arms", "['auc']", ("auc",)),
        ("crossval.arms", "'auc'", ("auc",)),
        (
            "crossval.arms",
            "bce,auc:loss.surrogate=hinge,model.paper.filters=(8,8),training.epochs=2,auc",
            ("bce", "auc:loss.surrogate=hinge,model.paper.filters=(8,8),training.epochs=2", "auc"),
        ),
    ],
)
def test_values_are_read_as_they_are_typed(path, text, value):
    assert value_of(with_overrides(Settings(), {path: text}), path) == value


@pytest.mark.parametrize(
    "path, text, line",
    [
        (
            "training.epochs",
            "many",
            "config.training.epochs is 'many'; expected a whole number from 1 to 100000",
        ),
        ("training.epochs", "", "config.training.epochs is ''; expected a whole number"),
        ("training.learning_rate", "nan", "config.training.learning_rate is nan; expected a number above 0"),
        ("data.strict", "maybe", "config.data.strict is 'maybe'; expected true or false"),
        (
            "model.paper.filters",
            "8;8",
            "config.model.paper.filters is '8;8'; expected a tuple of whole numbers",
        ),
        ("arms", "auc", "config.arms is 'auc'; expected, in a config file, arms by name"),
        ("crossval.arms", "auc,auc", "config.crossval.arms names 'auc' twice"),
        (
            "crossval.proposed",
            "bce2",
            "config.crossval.proposed is 'bce2'; expected one of config.crossval.arms",
        ),
    ],
)
def test_what_was_typed_wrong_is_one_line(path, text, line):
    with pytest.raises(UserError) as error:
        with_overrides(Settings(), {path: text})
    assert line in str(error.value) and "\n" not in str(error.value)


def test_help_explains_every_field_with_its_default_range_and_choices_in_100_columns():
    lines = explain({"surrogates": ["logistic", "cubic"]})
    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    for path, leaf in FLAGS.items():
        default = ",".join(leaf.default) if path == "crossval.arms" else None
        assert f"--config.{path}=" + (default or "") in text
        assert " ".join(leaf.facts["sentence"].split()) in text
        if leaf.facts["choices"]:
            assert ", ".join(leaf.facts["choices"]) in text
    assert "--config.model.np=15 (from 1 to 256)" in text
    assert "one of logistic, cubic" in text


def test_a_tilde_in_a_place_is_the_home_folder_however_it_was_given(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    places = ("run", "data.source", "data.prepared", "model.weights", "scan.representations")
    for path in places:
        *sections, name = path.split(".")
        nested = {name: "~/films"}
        for section in reversed(sections):
            nested = {section: nested}
        assert value_of(from_mapping(nested), path) == "/home/somebody/films"
        typed = with_overrides(from_mapping({}), {path: "~"})
        assert value_of(typed, path) == "/home/somebody"
    # what is no place is left as it is
    assert from_mapping({"data": {"folder": {"csv": "~a.csv"}}}).data.folder.csv == "~a.csv"
    further = further_sets(from_mapping({"data": {"also": ["mias:source=~/mias"]}}))
    assert further[0].data.source == "/home/somebody/mias"
