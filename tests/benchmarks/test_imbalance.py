"""The imbalance benchmark: what is left in training, that choices are made inside it, and how differences are taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from program import error_line, run
from scipy.stats import rankdata

from mammojax import settings
from mammojax.benchmarks.imbalance.contenders import CONTENDERS, TABLE, FreeOffset, Lopsided, RandomPairs
from mammojax.benchmarks.imbalance.figures import imbalance_figure
from mammojax.benchmarks.imbalance.study import SCORES, Design, Trainer, piece, possible, thinned
from mammojax.benchmarks.imbalance.summary import HeldOut, summarise
from mammojax.benchmarks.imbalance.tables import document
from mammojax.experiment.split import Split
from mammojax.models.classifiers import mil
from mammojax.runs.stages import finished
from mammojax.training.objectives import Auc, Logistic
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Batch, Maps, TrainState

N, CELLS, CHANNELS = 36, 6, 3
RNG = np.random.default_rng(0)
LABELS = (np.arange(N) % 3 == 0).astype(np.int32)
VALUES = RNG.normal(size=(N, 1, CELLS, CHANNELS)).astype(np.float32)
VALUES[LABELS == 1, 0, 0, 0] += 4.0
PARTS = Split(
    0,
    0,
    np.arange(24),
    np.arange(24, N),
    ((np.arange(12), np.arange(12, 24)), (np.arange(12, 24), np.arange(12))),
)
DESIGN = Design(shares=(1.0, 0.5), draws=4, rates=(1e-6, 0.1), decays=(0.1,), trials=2, seed=0)


def batch_of(scores, labels):
    where = np.ones(len(scores), bool)
    batch = Batch(None, jnp.asarray(labels), jnp.arange(len(scores)), jnp.asarray(where))
    counts = jnp.asarray([np.sum(labels == 0), np.sum(labels == 1)], jnp.float32)
    state = TrainState(None, None, None, None, counts, None, None, jnp.uint32(0), jnp.int32(0), jnp.int32(1))
    return jnp.asarray(scores), batch, state


SCORES_OF = RNG.normal(size=N).astype(np.float32)


def test_all_negatives_stay_and_fewer_positives_are_part_of_more():
    left = [thinned(np.arange(24), LABELS, share, seed=3) for share in (1.0, 0.5, 0.25)]
    assert [int(LABELS[x].sum()) for x in left] == [8, 4, 2]
    assert all(int((LABELS[x] == 0).sum()) == 16 for x in left)
    assert set(left[2]) < set(left[1]) < set(left[0]) == set(range(24))


def test_shares_that_leave_fewer_than_three_positives_in_any_training_set_are_left_out():
    assert possible((1.0, 0.4, 0.2), [PARTS], LABELS) == (1.0, 0.4)  # of eight: 8, 3, 2


def test_random_pairs_have_the_loss_of_all_pairs_as_their_mean():
    scores, batch, state = batch_of(SCORES_OF, LABELS)
    whole = Auc(pairs="batch").loss(scores, batch, state)
    draw = jax.jit(jax.vmap(lambda step: RandomPairs(64).loss(scores, batch, state._replace(step=step))))
    draws = draw(jnp.arange(40))
    spread = np.std(draws, ddof=1)
    assert spread > 0  # another draw each step
    assert abs(np.mean(draws) - whole) < 4 * spread / 40**0.5  # four standard errors


def test_slowed_positives_keep_the_loss_and_have_a_share_of_their_gradient():
    scores, batch, state = batch_of(SCORES_OF, LABELS)
    plain, slowed = (
        jax.value_and_grad(loss.loss)(scores, batch, state) for loss in (Auc(pairs="batch"), Lopsided())
    )
    assert np.isclose(plain[0], slowed[0])
    factor = np.where(LABELS == 1, 12 / 24, 1)
    assert np.allclose(slowed[1], factor * np.asarray(plain[1]), atol=1e-7)


def test_the_free_offset_is_the_best_and_a_shift_of_all_scores_changes_nothing():
    scores, batch, state = batch_of(SCORES_OF, LABELS)
    best = FreeOffset().loss(scores, batch, state)
    tried = jax.vmap(lambda o: Logistic().loss(scores + o, batch, state))(jnp.linspace(-3, 3, 121))
    assert best <= min(tried) + 1e-6 and best > min(tried) - 1e-3  # the grid's step is 0.05
    assert np.isclose(best, FreeOffset().loss(scores + 2, batch, state), atol=1e-5)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    built = []

    def build(seed):
        built.append(seed)
        return mil.build((1, CELLS, CHANNELS), settings.Mil(top=0.2), rngs=nnx.Rngs(seed))

    optimizer = Optimizer(1.0, 12, schedule="constant", warmup=0.0, clip=0.0, decay="penalty")
    maps = Maps(jnp.asarray(VALUES), jnp.ones((N, 1, CELLS), bool))

    def made(labels, parent):
        trainer = Trainer(build, optimizer, maps, labels)
        work = piece(parent, "logistic", CONTENDERS["logistic"], PARTS, DESIGN, lambda: trainer, labels, made_from={},
                     say=lambda text: None, track=lambda items, **_: items)  # fmt: skip
        return work.attempt()

    first = made(LABELS, tmp_path_factory.mktemp("imbalance"))
    again = made(LABELS, first.parent)
    networks = len(built)
    turned = np.where(np.arange(N) < 24, LABELS, 1 - LABELS)
    other = made(turned, tmp_path_factory.mktemp("turned"))
    return first, again, networks, other


def test_rate_and_decay_are_chosen_inside_the_training_folds(stage):
    first, _, _, other = stage
    found, turned = (dict(np.load(folder / SCORES)) for folder in (first, other))
    assert found["scores"].shape == (2, 4, 12) and found["inner"].shape == (2, 2, 1)
    assert found["chosen"].tolist() == [[1, 0], [1, 0]]  # a rate of a millionth learns nothing
    assert (found["inner"][:, 1, 0] > found["inner"][:, 0, 0]).all()
    for name in ("scores", "inner", "chosen"):  # whatever the held-out labels are
        assert np.array_equal(found[name], turned[name])


def test_a_finished_stage_is_reused_and_says_what_it_took(stage):
    first, again, starts, _ = stage
    assert first == again and starts == 2 + 4  # of the trials and of the draws, the same for both shares
    facts = finished(first)
    assert facts["networks"] == 2 * 2 * 2 + 2 * 4 and facts["seconds"] > 0


def rows_of(shift):
    """Two folds of six patients with three samples; "auc" is "logistic" plus `shift` on positives."""
    generator = np.random.default_rng(1)
    folds = []
    for k in range(2):
        labels = np.tile([0, 0, 1], 6)
        scores = generator.normal(size=(1, 3, 18)) + labels
        both = {"logistic": scores, "auc": scores + shift * labels}
        folds.append(HeldOut(labels, 6 * k + np.repeat(np.arange(6), 3), both))
    return folds, summarise(folds, references=("logistic",), seed=0, resamples=200)


def test_the_auc_is_the_mean_of_folds_and_draws_and_differences_are_paired():
    folds, rows = rows_of(shift=0.8)

    def mann_whitney(scores, labels):
        ranks, p = rankdata(scores), labels.sum()
        return (ranks[labels == 1].sum() - p * (p + 1) / 2) / (p * (len(labels) - p))

    by_hand = {
        name: np.mean([[mann_whitney(s, fold.labels) for s in fold.scores[name][0]] for fold in folds])
        for name in ("logistic", "auc")
    }
    for name, value in by_hand.items():
        assert rows[name][0].estimates["auc"].value == pytest.approx(value, abs=1e-12)
    difference = rows["auc"][0].differences["logistic"]["auc"]
    assert difference.value == pytest.approx(by_hand["auc"] - by_hand["logistic"], abs=1e-12)
    # paired: every resample holds the same women and draws, so a shift for the better is never for the worse
    assert 0 <= difference.low < difference.value < difference.high
    wide = rows["logistic"][0].estimates["auc"]
    assert difference.high - difference.low < wide.high - wide.low


def test_equal_scores_differ_by_nothing():
    difference = rows_of(shift=0.0)[1]["auc"][0].differences["logistic"]["auc"]
    assert difference.value == 0 and np.isnan(difference.low)  # nothing varies: there is no interval


def test_the_document_and_the_figure_tell_losses_shares_and_choices():
    _, rows = rows_of(shift=0.8)
    chosen = {name: [np.array([[1, 0]])] * 2 for name in rows}
    design = Design((0.5,), 3, (0.01, 0.03), (2.0,), 2, 0)
    text = document(
        rows,
        design,
        left=["9"],
        chosen=chosen,
        inner={name: [0.7] for name in rows},
        seconds=dict.fromkeys(rows, 0.25),
        notes=["a note"],
        command="the command",
    )
    for words in ("1/2: 9", "0.03 / 2 (2) | 2 |", "250 ms", "a note", "the command", "AUC, all pairs"):
        assert words in text
    figure = imbalance_figure(rows, ["1/2"], "a title")
    # no sub-sampled pairs, no panel of what they cost
    assert len(figure.axes) == 2 and len(figure.axes[0].lines) == 2


@pytest.mark.parametrize(
    "flag, says",
    [
        ("--losses=cubic", "--losses: unknown 'cubic'; choose from logistic"),
        ("--shares=2", "--shares=2: expected numbers above 0 and up to 1"),
        ("shares=1", "unexpected argument"),
    ],
)
def test_a_wrong_flag_is_one_line(flag, says):
    assert says in error_line(run("launch.benchmark_imbalance", flag))


def test_the_losses_of_the_table_are_contenders():
    assert set(TABLE) <= set(CONTENDERS)
