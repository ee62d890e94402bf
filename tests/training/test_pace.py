"""How fast a training goes, by a clock of the test's own; and which steps the profiler records."""

import json

import pytest

from mammojax.training import pace
from mammojax.training.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    """clock.now may be moved."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(pace.time, "perf_counter", lambda: Clock.now)
    return Clock


def test_an_epoch_says_its_steps_examples_and_the_share_that_waited_for_data(clock):
    def slow():
        for k in range(4):
            clock.now += 1.5
            yield k

    going = Pace()
    going.begin()
    for _ in going.waited(slow()):
        clock.now += 0.5  # a step
        going.took(1, 16)
    found = going.ended()
    assert found["seconds_a_step"] == pytest.approx(2.0)
    assert found["steps_a_second"] == pytest.approx(0.5)
    assert found["examples_a_second"] == pytest.approx(8.0)
    assert found["waiting_for_data"] == pytest.approx(0.75)
    going.begin()
    clock.now += 3
    going.took(3, 48)
    assert going.ended()["waiting_for_data"] == 0  # of each epoch anew
    assert going.ended()["steps_a_second"] == pytest.approx(1.0)


def test_lines_of_several_trainings_stand_one_after_the_other(tmp_path):
    for name in ("first", "second"):
        going = Pace(tmp_path / "run" / "speed.jsonl")
        going.write(name, 1, 10, steps_a_second=2.0, age=3.0)
    lines = [json.loads(line) for line in (tmp_path / "run" / "speed.jsonl").read_text().splitlines()]
    assert [line["fit"] for line in lines] == ["first", "second"]
    assert lines[0]["steps_a_second"] == 2.0 and lines[0]["age"] == 3.0 and lines[0]["step"] == 10


def test_the_profiler_records_the_steps_that_were_asked_for_over_epochs_and_once(tmp_path, monkeypatch):
    seen, taken = [], 0
    monkeypatch.setattr(
        pace.jax.profiler, "start_trace", lambda folder: seen.append(("start", taken, folder))
    )
    monkeypatch.setattr(pace.jax.profiler, "stop_trace", lambda: seen.append(("stop", taken)))
    going = Pace(tmp_path / "speed.jsonl", profile=(3, 6))
    for _ in range(4):
        going.begin()
        for _ in range(2):
            taken += 1
            going.took(1, 1)
    going.close()
    assert seen == [("start", 3, str(tmp_path / "profiles")), ("stop", 6)]


@pytest.mark.parametrize(
    "profile, said",
    [
        ((5, 6), "profile of the steps 4 to 8: "),  # of the epoch in which they are
        ((7, 9), "profile of the steps 4 to 12: "),
        ((1, 2), "profile of the steps 4 to 8: "),  # how long an epoch is was not known before the first
        (
            (40, 50),
            "no profile of the steps 40 to 50: 12 were taken; what is reused, or fitted at once, has none",
        ),
    ],
)
def test_of_epochs_in_one_part_whole_ones_are_recorded_and_what_was_recorded_is_said(
    tmp_path, monkeypatch, profile, said
):
    lines = []
    for name in ("start_trace", "stop_trace"):
        monkeypatch.setattr(pace.jax.profiler, name, lambda *_: None)
    going = Pace(tmp_path / "speed.jsonl", profile=profile, say=lines.append)
    for _ in range(3):
        going.begin()
        going.took(4, 16)
    going.close()
    going.over()
    (line,) = lines
    assert line.startswith(said)


def test_a_profile_of_no_steps_is_one_line():
    from launch.profiling import steps
    from mammojax.errors import UserError

    assert steps("10:20") == (10, 20) and steps("") is None
    for text in ("20:10", "5:5", "5", "a:b"):
        with pytest.raises(UserError, match="expected START:STOP"):
            steps(text)
