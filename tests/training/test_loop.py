"""The training loop: selection, resume to the same bits, and a stop that names the step."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.metrics import roc_auc_score

from mammojax.errors import UserError
from mammojax.training.loop import SELECTION, fit
from mammojax.training.step import (
    Batch,
    auc_objective,
    logistic_objective,
    make_optimizer,
    weighted_logistic_objective,
)

SAMPLES, SIZE, EPOCHS = 24, 8, 6
RNG = np.random.default_rng(0)
LABELS = (np.arange(SAMPLES) % 4 == 0).astype(np.int32)
INPUTS = RNG.normal(size=(SAMPLES, 5)).astype(np.float32) + 2.0 * LABELS[:, None]


class Small(nnx.Module):
    """Two layers and dropout, so that variables beside the parameters change too."""

    def __init__(self, seed: int):
        rngs = nnx.Rngs(seed)
        self.first = nnx.Linear(5, 16, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.last = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.first(x))))[:, 0]


def batches(epoch):
    order = np.random.default_rng(epoch).permutation(SAMPLES)
    for k in range(0, SAMPLES, SIZE):
        ids = order[k : k + SIZE]
        yield (Batch(INPUTS[ids], LABELS[ids], ids.astype(np.int32), np.ones(SIZE, bool)),)


def evaluate(score):
    everything = Batch(INPUTS, LABELS, np.arange(SAMPLES, dtype=np.int32), np.ones(SAMPLES, bool))
    return {SELECTION: roc_auc_score(LABELS, score(everything))}


def objective(name):
    if name == "bce":
        return logistic_objective()
    if name == "weighted_bce":
        return weighted_logistic_objective(positives=int(LABELS.sum()), negatives=int((1 - LABELS).sum()))
    pairs, _, policy = name.partition(" ")
    return auc_objective(pairs=pairs, samples=SAMPLES, policy=policy or "all", capacity=6)


def train(folder, name="buffer all", epochs=EPOCHS, feed=batches, **options):
    optimizer = make_optimizer(learning_rate=0.02, steps=EPOCHS * 3)
    settings = {
        "epochs": epochs,
        "regularisation": 1e-3,
        "folder": folder,
        "seed": 3,
        "checkpoint_every": 2,
        "evaluate": evaluate,
    }
    return fit(Small(1), objective(name), optimizer, batches=feed, **(settings | options))


def parameters(fitted):
    return [np.asarray(x) for x in nnx.to_flat_state(nnx.state(fitted.model, nnx.Param)).leaves]


def test_two_passes_over_batches_are_one_step_on_all_of_them_at_once(tmp_path):
    def apart(epoch):
        yield tuple(batch for (batch,) in batches(epoch))

    def together(epoch):
        parts = [batch for (batch,) in batches(epoch)]
        yield (Batch(*(np.concatenate([getattr(b, n) for b in parts]) for n in Batch._fields[:4])),)

    def still(folder, name, feed):
        model = Small(1)
        model.dropout.rate = 0.0  # other batch shapes draw other dropout masks
        optimizer = make_optimizer(learning_rate=0.02, steps=3)
        return fit(model, objective(name), optimizer, batches=feed, evaluate=evaluate, epochs=3, folder=folder,
                   regularisation=1e-3)  # fmt: skip

    two = still(tmp_path / "two", "two_pass", apart).model
    one = still(tmp_path / "one", "batch", together).model
    # The same gradient summed in another order: float32 rounding, which three steps of Adam keep small. (The last bias
    # is left out: pairs do not see it, its gradient is rounding alone, and Adam makes full steps of that.)
    assert np.allclose(two.first.kernel[...], one.first.kernel[...], rtol=1e-3, atol=1e-4)
    assert np.allclose(two.last.kernel[...], one.last.kernel[...], rtol=1e-3, atol=1e-4)
    assert not np.allclose(two.first.kernel[...], Small(1).first.kernel[...], atol=1e-3)  # and they did move


@pytest.mark.parametrize("name", ["buffer all", "buffer reservoir", "two_pass"])
def test_a_killed_run_resumes_to_the_bits_of_an_uninterrupted_one(tmp_path, name):
    def dies_in_fourth_epoch(epoch):
        for number, group in enumerate(batches(epoch)):
            if epoch == 3 and number == 1:
                raise KeyboardInterrupt
            yield group

    whole = train(tmp_path / "whole", name)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", name, feed=dies_in_fourth_epoch)
    lines = []
    resumed = train(tmp_path / "cut", name, say=lines.append)
    assert lines == ["resumed after epoch 2"]
    assert (resumed.epoch, resumed.step) == (whole.epoch, whole.step)
    assert all(np.array_equal(a, b) for a, b in zip(parameters(whole), parameters(resumed), strict=True))
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "cut/metrics.jsonl").read_bytes()


def test_a_checkpoint_with_missing_files_is_set_aside_and_the_one_before_is_used(tmp_path):
    def dies_late(epoch):
        if epoch == 5:
            raise KeyboardInterrupt
        yield from batches(epoch)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, feed=dies_late)
    steps = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    for part in (tmp_path / "checkpoints" / str(steps[-1]) / "state").rglob("*"):
        if part.is_file():
            part.unlink()
    lines = []
    resumed = train(tmp_path, say=lines.append)
    assert "is broken" in lines[0] and lines[1] == "resumed after epoch 2"
    assert (tmp_path / f"checkpoints.broken-{steps[-1]}").is_dir()
    whole = train(tmp_path / "whole")
    assert all(np.array_equal(a, b) for a, b in zip(parameters(whole), parameters(resumed), strict=True))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tmp_path):
    def poisoned(epoch):
        for number, (batch,) in enumerate(batches(epoch)):
            bad = np.where((epoch == 2) & (number == 1), np.nan, 0).astype(np.float32)
            yield (batch._replace(inputs=batch.inputs + bad),)

    with pytest.raises(UserError, match=r"loss is nan at step 8 \(epoch 3\)"):
        train(tmp_path, feed=poisoned)
    assert any(p.name.isdigit() for p in (tmp_path / "checkpoints").iterdir())  # nothing is lost


def test_the_selected_model_is_the_one_of_the_best_selection_value(tmp_path):
    values = iter([0.5, 0.9, 0.7, 0.9, 0.2, 0.1])
    seen = []

    def scripted(score):
        seen.append(evaluate(score)[SELECTION])
        return {SELECTION: next(values)}

    fitted = train(tmp_path, evaluate=scripted)
    assert fitted.epoch == 2 and fitted.step == 6  # the earlier of the two equal ones
    everything = fitted.model(jnp.asarray(INPUTS))
    assert roc_auc_score(LABELS, np.asarray(everything)) == pytest.approx(seen[1], abs=1e-12)


def test_without_a_selection_value_the_last_epoch_is_taken(tmp_path):
    fitted = train(tmp_path, evaluate=lambda score: {SELECTION: float("nan")})
    assert fitted.epoch == EPOCHS


@pytest.mark.parametrize("name", ["buffer all", "buffer fifo", "batch", "bce", "weighted_bce", "two_pass"])
def test_every_objective_separates_separable_data(tmp_path, name):
    train(tmp_path, name, epochs=EPOCHS)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1][SELECTION] == 1.0


def test_a_one_class_batch_gives_a_finite_loss_and_moves_nothing_but_by_regularisation(tmp_path):
    def only_negatives(epoch):
        ids = np.flatnonzero(LABELS == 0)[:SIZE].astype(np.int32)
        yield (Batch(INPUTS[ids], LABELS[ids], ids, np.ones(SIZE, bool)),)

    before = Small(1)
    fitted = train(tmp_path, "batch", feed=only_negatives, regularisation=0.0)
    for a, b in zip(nnx.to_flat_state(nnx.state(before, nnx.Param)).leaves, parameters(fitted), strict=True):
        assert np.array_equal(np.asarray(a), b)
