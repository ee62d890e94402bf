"""The training loop: what is watched and kept, resume to the same bits, and a stop that names the step."""

import itertools
import json
import shutil

import numpy as np
import pytest
from flax import nnx
from sklearn.metrics import roc_auc_score

from mammojax.errors import UserError
from mammojax.runs import stopping
from mammojax.training.loop import fit
from mammojax.training.objectives import Auc, Logistic, WeightedLogistic
from mammojax.training.optimizer import Optimizer
from mammojax.training.scoring import make_scorer
from mammojax.training.step import Batch, compiled_step, shifted, start

SAMPLES, SIZE, EPOCHS = 24, 8, 6
RNG = np.random.default_rng(0)
LABELS = (np.arange(SAMPLES) % 4 == 0).astype(np.int32)
INPUTS = RNG.normal(size=(SAMPLES, 5)).astype(np.float32) + 2.0 * LABELS[:, None]
EVERYTHING = Batch(INPUTS, LABELS, np.arange(SAMPLES, dtype=np.int32), np.ones(SAMPLES, bool))


class Small(nnx.Module):
    """Two layers and dropout, so that variables beside the parameters change too."""

    def __init__(self, seed: int, dropout: float = 0.2):
        rngs = nnx.Rngs(seed)
        self.first = nnx.Linear(5, 16, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.last = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x, tissue=None, progress=1.0):
        return self.last(self.dropout(nnx.relu(self.first(x))))[:, 0]


def batches(epoch):
    order = np.random.default_rng(epoch).permutation(SAMPLES)
    for k in range(0, SAMPLES, SIZE):
        ids = order[k : k + SIZE]
        yield (Batch(INPUTS[ids], LABELS[ids], ids.astype(np.int32), np.ones(SIZE, bool)),)


def objective(name):
    if name in ("bce", "weighted_bce"):
        return Logistic() if name == "bce" else WeightedLogistic()
    pairs, _, policy = name.partition(" ")
    # the specification: no other form compiles as quickly
    return Auc(pairs=pairs, policy=policy or "all", capacity=6, implementation="materialized")


def slow(*names):
    """Parameters that compile programs of their own for what others hold already: left out by default."""
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def train(folder, name="buffer all", *, feed=batches, model=None, epochs=EPOCHS, optimizer=None, **options):
    model = model or Small(1)
    optimizer = optimizer or Optimizer(learning_rate=0.02, steps=EPOCHS * 3, regularisation=1e-3)
    graph, state = start(model, optimizer, objective(name), labels=LABELS, seed=3)
    step, score = compiled_step(graph, optimizer, objective(name)), make_scorer(model)

    def advance(state, epoch, begin):
        for group in itertools.islice(feed(epoch), begin, None):
            state, report = step(state, group)
            yield state, report

    settings = {
        "epochs": epochs,
        "steps": len(list(batches(0))),
        "folder": folder,
        "checkpoint_every": 2,
        "describe": lambda scores, report: {"auc": roc_auc_score(LABELS, scores)},
    }
    return fit(model, state, advance, lambda s: score(s.kept, s.rest, EVERYTHING), **(settings | options))


def parameters(model):
    return [np.asarray(x) for x in nnx.to_flat_state(nnx.state(model, nnx.Param)).leaves]


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(parameters(a), parameters(b), strict=True))


def test_two_passes_over_batches_are_one_step_on_all_of_them_at_once(tmp_path):
    def apart(epoch):
        yield tuple(batch for (batch,) in batches(epoch))

    def together(epoch):
        parts = [batch for (batch,) in batches(epoch)]
        yield (Batch(*(np.concatenate([getattr(b, n) for b in parts]) for n in Batch._fields[:4])),)

    # other batch shapes draw other dropout masks, so there is none here
    still = {
        "epochs": 3,
        "optimizer": Optimizer(learning_rate=0.02, steps=3, decay="penalty", regularisation=1e-3),
    }
    two = train(tmp_path / "two", "two_pass", feed=apart, model=Small(1, 0.0), **still).model
    one = train(tmp_path / "one", "batch", feed=together, model=Small(1, 0.0), **still).model
    # The same gradient summed in another order: float32 rounding, which three steps of Adam keep small. (The last bias
    # is left out: pairs do not see it, its gradient is rounding alone, and Adam makes full steps of that.)
    assert np.allclose(two.first.kernel[...], one.first.kernel[...], rtol=1e-3, atol=1e-4)
    assert np.allclose(two.last.kernel[...], one.last.kernel[...], rtol=1e-3, atol=1e-4)
    assert not np.allclose(two.first.kernel[...], Small(1).first.kernel[...], atol=1e-3)  # and they did move


def test_microbatches_of_one_step_draw_different_dropout_and_the_same_one_twice():
    optimizer = Optimizer(learning_rate=0.02, steps=3)
    graph, state = start(Small(1, 0.5), optimizer, Logistic(), labels=LABELS)

    def scores(j):
        return np.asarray(nnx.merge(graph, state.params, shifted(state.rest, j), copy=True)(INPUTS))

    assert np.array_equal(scores(1), scores(1)) and np.array_equal(scores(0), scores(0))
    assert not np.allclose(scores(0), scores(1)) and not np.allclose(scores(1), scores(2))


@pytest.mark.parametrize("name", ["buffer reservoir", "two_pass", *slow("buffer all")])
def test_a_killed_run_resumes_to_the_bits_of_an_uninterrupted_one(tmp_path, name):
    def dies_in_fourth_epoch(epoch):
        for number, group in enumerate(batches(epoch)):
            if epoch == 3 and number == 1:
                raise KeyboardInterrupt
            yield group

    whole = train(tmp_path / "whole", name, keep=4)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", name, keep=4, feed=dies_in_fourth_epoch)
    lines = []
    resumed = train(tmp_path / "cut", name, keep=4, say=lines.append)
    assert lines == ["resumed after epoch 2"]
    assert resumed.step == whole.step == 12 and equal(whole.model, resumed.model)
    assert all(np.array_equal(whole.curve[e], resumed.curve[e]) for e in range(1, EPOCHS + 1))
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "cut/metrics.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["buffer all", "buffer reservoir"])
@pytest.mark.parametrize("place", [1, 2, 3])
def test_asked_to_stop_it_saves_that_step_and_goes_on_to_the_same_bits(tmp_path, name, place):
    """Between two steps of an epoch, and (place 3) after the last one, while the watched samples are scored."""

    def asked_in_third_epoch(epoch):
        for number, group in enumerate(batches(epoch)):
            if epoch == 2 and number == place:
                raise stopping.Stopped
            yield group

    def asked_while_watching(scores, report):
        if len(list((tmp_path / "cut/watched").iterdir())) == 3 and place == 3:
            raise stopping.Stopped
        return {"auc": roc_auc_score(LABELS, scores)}

    whole = train(tmp_path / "whole", name, keep=2)
    with pytest.raises(stopping.Stopped):
        train(tmp_path / "cut", name, keep=2, feed=asked_in_third_epoch, describe=asked_while_watching)
    lines = []
    resumed = train(tmp_path / "cut", name, keep=2, say=lines.append)
    assert lines == [f"resumed after epoch 2, step {place} of the next"]
    assert resumed.step == whole.step and equal(whole.model, resumed.model)
    assert all(np.array_equal(whole.curve[e], resumed.curve[e]) for e in range(1, EPOCHS + 1))
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "cut/metrics.jsonl").read_bytes()


def test_checkpoints_by_time_are_taken_within_an_epoch_and_change_no_bit(tmp_path):
    def dies_in_fourth_epoch(epoch):
        for number, group in enumerate(batches(epoch)):
            if epoch == 3 and number == 2:
                raise KeyboardInterrupt
            yield group

    often = {"checkpoint_minutes": 0.0, "checkpoint_every": EPOCHS}
    whole = train(tmp_path / "whole", checkpoint_every=EPOCHS)
    assert not (tmp_path / "whole/checkpoints").exists()  # six epochs of a moment are no ten minutes
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", feed=dies_in_fourth_epoch, **often)
    lines = []
    resumed = train(tmp_path / "cut", say=lines.append, **often)
    assert lines == ["resumed after epoch 3, step 2 of the next"]
    assert equal(whole.model, resumed.model)
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "cut/metrics.jsonl").read_bytes()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tmp_path):
    def poisoned(epoch):
        for number, (batch,) in enumerate(batches(epoch)):
            bad = np.where((epoch == 2) & (number == 1), np.nan, 0).astype(np.float32)
            yield (batch._replace(inputs=batch.inputs + bad),)

    with pytest.raises(UserError, match=r"loss is nan at step 8 \(epoch 3\)"):
        train(tmp_path, feed=poisoned)
    assert any(p.name.isdigit() for p in (tmp_path / "checkpoints").iterdir())  # nothing is lost


def test_the_kept_epoch_is_returned_and_the_curve_holds_the_scores_of_every_epoch(tmp_path):
    kept = train(tmp_path / "kept", keep=2)
    short = train(tmp_path / "short", epochs=2)
    assert equal(kept.model, short.model) and kept.step == short.step == 6
    assert sorted(kept.curve) == list(range(1, EPOCHS + 1))
    assert np.array_equal(np.asarray(kept.model(INPUTS)), kept.curve[2])


def test_a_checkpoint_that_kept_another_epoch_than_is_wanted_now_is_not_gone_on_from(tmp_path):
    """As where sums differ from run to run and the inner folds choose anew after a kill."""

    def dies_in_fifth_epoch(epoch):
        if epoch == 4:
            raise KeyboardInterrupt
        yield from batches(epoch)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", keep=2, feed=dies_in_fifth_epoch)
    lines = []
    other = train(tmp_path / "cut", keep=3, say=lines.append)
    assert lines == ["the checkpoint kept epoch 2 and epoch 3 is wanted; begun anew"]
    whole = train(tmp_path / "whole", keep=3)
    assert equal(other.model, whole.model) and other.step == whole.step == 9


@pytest.mark.parametrize("name, place", [("watched/00001.npy", -3), ("metrics.jsonl", 40)])
def test_what_earlier_epochs_left_beside_a_checkpoint_is_that_or_the_fit_is_begun_anew(tmp_path, name, place):
    """Scores of the watched samples choose the epoch and calibrate: one that is lost, or changed, would choose another."""

    def dies_in_fourth_epoch(epoch):
        if epoch == 3:
            raise KeyboardInterrupt
        yield from batches(epoch)

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", feed=dies_in_fourth_epoch)
    said = "the scores or metrics of the epochs up to 2 are not those that were written; begun anew"
    data = (tmp_path / "cut" / name).read_bytes()
    flipped = bytearray(data)
    flipped[place] ^= 4
    for damaged in (None, flipped):
        folder = tmp_path / ("flipped" if damaged else "removed")
        shutil.copytree(tmp_path / "cut", folder)
        (folder / name).write_bytes(damaged) if damaged else (folder / name).unlink()
        lines = []
        resumed = train(folder, say=lines.append)
        assert lines == [said]
        assert all(np.array_equal(whole.curve[e], resumed.curve[e]) for e in range(1, EPOCHS + 1))
        assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()


def test_the_start_is_watched_where_it_is_a_candidate(tmp_path):
    none = train(tmp_path, epochs=0, from_start=True)
    assert list(none.curve) == [0] and equal(none.model, Small(1))
    model = Small(1)
    model.eval()
    assert np.allclose(none.curve[0], model(INPUTS), atol=1e-6)  # another program: float32 rounding


def test_what_goes_on_within_the_first_epoch_keeps_the_scores_of_its_start(tmp_path):
    def asked_after_two_steps(epoch):
        for number, group in enumerate(batches(epoch)):
            if number == 2:
                raise stopping.Stopped
            yield group

    whole = train(tmp_path / "whole", epochs=1, from_start=True)
    with pytest.raises(stopping.Stopped):
        train(tmp_path / "cut", epochs=1, from_start=True, feed=asked_after_two_steps)
    lines = []
    resumed = train(tmp_path / "cut", epochs=1, from_start=True, say=lines.append)
    assert lines == ["resumed after epoch 0, step 2 of the next"]
    assert all(np.array_equal(whole.curve[e], resumed.curve[e]) for e in (0, 1))
    assert not np.array_equal(whole.curve[0], whole.curve[1])


@pytest.mark.parametrize("name", ["buffer all", "batch", "bce", *slow("buffer fifo", "weighted_bce")])
def test_every_objective_separates_separable_data(tmp_path, name):
    train(tmp_path, name)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["auc"] == 1.0


def test_a_one_class_batch_gives_a_finite_loss_and_moves_nothing(tmp_path):
    def only_negatives(epoch):
        ids = np.flatnonzero(LABELS == 0)[:SIZE].astype(np.int32)
        yield (Batch(INPUTS[ids], LABELS[ids], ids, np.ones(SIZE, bool)),)

    fitted = train(tmp_path, "batch", feed=only_negatives, optimizer=Optimizer(learning_rate=0.02, steps=6))
    assert equal(fitted.model, Small(1))


def test_folds_of_other_sizes_are_trained_by_one_program():
    """Steps of the schedule, classes and stored scores are in the state: a program a fold is a compilation a fold."""
    steps = []
    for samples in (SAMPLES - 4, SAMPLES):
        optimizer, wanted = Optimizer(learning_rate=0.02, steps=samples), objective("buffer all")
        graph, state = start(Small(1), optimizer, wanted, labels=LABELS[:samples], seed=3)
        steps.append(compiled_step(graph, optimizer, wanted))
        steps[-1](state, next(iter(batches(0))))
    assert steps[0] is steps[1] and steps[0].program._cache_size() == 1
