"""Jobs that processes with the same list share out: each is done once, and those of a process that died by another."""

import threading

from mammojax.datasets.workers import _PIECE, shared_results
from mammojax.runs import locks

JOBS = [(k,) for k in range(3 * _PIECE + 5)]


def square(k):
    return k * k


def shared(stage, results, **options):
    for number, result in shared_results(
        square, JOBS, done=results.__contains__, stage=stage, workers=0, pause=0.01, **options
    ):
        assert number not in results
        results[number] = result


def piece(stage, number):
    return locks.locked(stage.with_name(f"{stage.name}.files {number}"), what="", say=print)


def test_what_another_process_holds_is_left_to_it_and_taken_over_when_it_has_ended(tmp_path):
    results, stage = {}, tmp_path / "0123"
    with piece(stage, 1):
        shared(stage, results, wait=False)
        assert set(results) == set(range(len(JOBS))) - set(range(_PIECE, 2 * _PIECE))
        waits = threading.Thread(target=shared, args=(stage, results))
        waits.start()
        waits.join(0.1)
        assert waits.is_alive()
    waits.join(600)
    assert results == {k: k * k for k in range(len(JOBS))}
    assert not list(tmp_path.iterdir())  # no lock is left


def test_done_jobs_are_not_done_again_and_a_piece_is_held_until_its_last_result_is_there(tmp_path):
    results, stage = {0: 0, 1: 1}, tmp_path / "0123"
    for number, result in shared_results(
        square, JOBS, done=results.__contains__, stage=stage, workers=0, wait=False
    ):
        with locks.try_locked(stage.with_name(f"{stage.name}.files {number // _PIECE}")) as free:
            assert not free
        assert number > 1
        results[number] = result
    assert len(results) == len(JOBS)
