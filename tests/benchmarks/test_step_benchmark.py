"""What the benchmark of a step measures is what it says: the same steps on both sides, its shares, its one-line errors."""

import pytest
from program import error_line, run

from mammojax.benchmarks.step.processes import Throughput, throughput
from mammojax.benchmarks.step.stage_one import Outside, Saving
from mammojax.benchmarks.step.table import Shared, shared


def test_shares_are_those_of_the_times_they_stand_for():
    assert Outside(steps=9.0, fit=10.0).share == pytest.approx(0.1)
    assert Outside(steps=10.1, fit=10.0).share == 0  # noise of the clock is no negative cost
    assert Saving(seconds=6.0, bytes=1).share == pytest.approx(0.01)  # of ten minutes
    assert Throughput(2, alone=3.0, together=5.1).ratio == pytest.approx(1.7)
    assert Shared(2, alone=200.0, together=110.0).share == pytest.approx(0.55)


def test_more_processes_than_cores_are_refused():
    with pytest.raises(ValueError, match="may be used"):
        throughput(processes=10**6, crop=(64, 64), images=1, repeats=1)
    with pytest.raises(ValueError, match="may be used"):
        shared(processes=10**6, patients=8)


def test_wrong_flags_of_the_step_benchmark_are_one_line():
    assert "--part: unknown 'all'" in error_line(run("launch.benchmark_step", "--part=all"))
    assert "--crop is '64'" in error_line(run("launch.benchmark_step", "--crop=64"))


def test_a_fit_takes_the_steps_that_are_timed_alone(tmp_path):
    from mammojax.benchmarks.step.stage_one import Training, outside
    from mammojax.training.metrics import read_metrics

    training = Training(samples=20, cells=4, channels=8, batch=8, epochs=2)
    training.fitted(tmp_path)
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["step"] == 2 * training.steps == 6
    assert training.seconds > 0
    found = outside(training, repeats=1)
    assert 0 < found.steps < float("inf") and 0 < found.fit < float("inf")
