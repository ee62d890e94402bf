"""How a set grows is measured on a set that is really prepared, every picture of it."""

from mammojax.benchmarks.data import records


def test_every_step_is_measured_on_a_set_of_so_many_records(monkeypatch):
    used = []
    whole = records.prepare
    monkeypatch.setattr(records, "prepare", lambda *a, **k: used.append(whole(*a, **k)) or used[-1])
    found = records._measured(60, 0)
    assert found.records == 60 and set(found.seconds) == set(records.STEPS)
    assert all(seconds > 0 for seconds in found.seconds.values()) and found.peak > 50e6
    (made,) = used
    assert len({r.sha256 for r in made.records}) == 60 and len(set(made.patients)) == 15
    assert {int(label) for label in made.labels} == {0, 1}
