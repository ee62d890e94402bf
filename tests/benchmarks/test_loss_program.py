"""The loss benchmark: its float64 reference is right, and a tiny run leaves what a reader needs."""

import csv

import numpy as np
import pytest
from program import error_line, run

from mammojax.benchmarks.loss.figures import fitted_slope
from mammojax.benchmarks.loss.peers import prepare
from mammojax.benchmarks.loss.reference import aum, reference, relative_errors

PROGRAM = "launch.benchmark_loss"
SURROGATES = ("logistic", "sigmoid", "hinge", "squared_hinge", "square")


def drawn(name, size=2000):
    generator = np.random.default_rng(7)
    labels = (generator.random(size) < 0.1).astype(np.int32)
    noise = {
        "overlapping": lambda: generator.normal(size=size),
        "heavy tails": lambda: 5 * generator.standard_cauchy(size),
        "ties": lambda: generator.integers(0, 3, size).astype(float),
        "apart": lambda: generator.normal(size=size) + 30 * labels,
        "reversed": lambda: generator.normal(size=size) - 60 * labels,
        "far from zero": lambda: generator.normal(size=size) + 10_000,
    }[name]()
    return (noise + labels).astype(np.float32), labels


@pytest.mark.parametrize(
    "scores", ["overlapping", "heavy tails", "ties", "apart", "reversed", "far from zero"]
)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_reference_for_large_sizes_is_that_of_all_pairs(surrogate, scores):
    arrays = drawn(scores)
    exact = reference(*arrays, surrogate)
    found = reference(*arrays, surrogate, all_pairs=0)
    assert exact.method == "all pairs" != found.method
    # float64 at scores of 10,000 leaves 1e-12 of an offset in a cell; float32 results are compared at 1e-7
    np.testing.assert_allclose(found.loss, exact.loss, rtol=1e-11)
    counted = np.abs(exact.gradient) > 1e-30  # what is below has no relative error anywhere in the benchmark
    np.testing.assert_allclose(found.gradient[counted], exact.gradient[counted], rtol=1e-11)
    assert np.all(np.abs(found.gradient[~counted]) < 2e-30)


def test_the_reference_is_the_loss_that_the_words_say():
    # P = 1 at 2, N = 2 at -1 and 0.5: softplus(-3) and softplus(-1.5), by hand
    found = reference(np.array([2.0, -1.0, 0.5]), np.array([1, 0, 0]))
    costs, slopes = np.log1p(np.exp([-3, -1.5])), 1 / (1 + np.exp([3, 1.5]))
    np.testing.assert_allclose(found.loss, costs.mean(), rtol=1e-14)
    np.testing.assert_allclose(found.gradient, [-slopes.mean(), *(slopes / 2)], rtol=1e-14)


def test_a_slope_is_the_power_of_the_last_two_decades():
    sizes = np.array([1e2, 1e4, 1e5, 1e6])
    assert fitted_slope(sizes, 3 * sizes**2) == pytest.approx(2)
    assert fitted_slope(sizes, np.maximum(1.0, sizes / 1e4)) == pytest.approx(
        1
    )  # the floor of 1e2 is left out
    assert np.isnan(fitted_slope([100], [1.0]))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "out"
    done = run(
        PROGRAM,
        f"--out={folder}",
        "--sizes=100,300",
        "--positive_rate=0.1",
        "--peers=rax,keops",
        "--capacities=16",
        "--repeats=2",
        "--budget_seconds=0.2",
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return folder, done.stdout, list(csv.DictReader(file))


def test_every_implementation_is_measured_at_every_size_with_its_error_and_memory(tiny):
    _, _, rows = tiny
    for size in ("100", "300"):
        for program in ("materialized", "tiled", "fast"):
            (row,) = [r for r in rows if (r["part"], r["program"], r["scores"]) == ("sweep", program, size)]
            assert float(row["milliseconds"]) > 0 and row["device"].startswith("cpu")
            # float32 programs against float64: the accuracies that the library promises for `fast`
            assert float(row["loss_error"]) < 1e-6 and float(row["gradient_error"]) < 5e-6
            assert row["reference"] == "all pairs"
            assert int(row["temporary_bytes"]) > 0 and row["memory_source"] == "compiled program"
            assert int(row["positives"]) + int(row["negatives"]) == int(size)


def test_the_tables_and_the_pictures_are_written(tiny):
    folder, _, _ = tiny
    text = (folder / "benchmark.md").read_text(encoding="utf-8")
    for words in (
        "What must hold",
        "10% positives",
        "An epoch of the loss",
        "python -m launch.benchmark_loss",
    ):
        assert words in text
    for name in ("sweep", "epoch"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_not_measured_is_said_with_its_reason(tiny):
    folder, output, rows = tiny
    text = (folder / "benchmark.md").read_text(encoding="utf-8")
    assert "fast at 1e6 scores | < 12 ns a score | not measured" in text
    for peer in ("rax", "keops"):
        if not any(row["program"] == peer for row in rows):
            assert f"skipped: {peer}, 100 scores" in output and "not installed" in output
            assert f"| {peer} | not installed" in text


@pytest.mark.parametrize(
    "flag, says",
    [
        ("--sizes=many", "--sizes=many: expected numbers from 2"),
        ("--sizes=1", "--sizes=1: expected numbers"),
        ("--positive_rate=1.5", "--positive_rate=1.5: expected numbers"),
        ("--implementations=quick", "--implementations: unknown 'quick'; choose from materialized"),
        ("--peers=numpy", "--peers: unknown 'numpy'"),
        ("--part=all", "--part: unknown 'all'"),
        ("--surrogate=cubic", "--surrogate: unknown 'cubic'"),
        ("--repeats=0", "--repeats"),
        ("sizes=100", "unexpected argument"),
    ],
)
def test_a_wrong_flag_is_one_line(tmp_path, flag, says):
    assert says in error_line(run(PROGRAM, f"--out={tmp_path}", flag))


def test_the_reference_of_aum_is_what_its_words_say():
    # thresholds between -1, 0.5, 2, 3 miss 0, 1, 1 of two positives (0.5, 3) and raise 1, 1, 0 of two negatives (-1, 2)
    found = aum(np.array([0.5, 3.0, -1.0, 2.0]), np.array([1, 1, 0, 0]))
    assert found.loss == pytest.approx((2 - 0.5) * 0.5)
    np.testing.assert_allclose(found.gradient, [-0.5, 0, 0, 0.5])
    scores, labels = drawn("overlapping")
    whole = aum(scores, labels)
    moved = np.where(np.arange(len(scores)) == 7, 1e-7, 0)  # within its gap to the next score
    slope = (aum(scores + moved, labels).loss - aum(scores - moved, labels).loss) / 2e-7
    assert slope == pytest.approx(whole.gradient[7], rel=1e-5, abs=1e-12)
    pytest.importorskip("torch")
    program = prepare("aum", scores, labels, "logistic")
    loss, whole_off, _ = relative_errors(*program.unpacked(program.call()), whole)
    # a slope is a step of 1 / 200 between rates that are rounded to 6e-8
    assert loss < 1e-6 and whole_off < 1e-4
