"""Stage two: one step over images that do not fit together, frozen layers, and what is kept for the way back."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from mammojax import losses
from mammojax.datasets.pipeline import Augmentation
from mammojax.errors import UserError
from mammojax.models import layers
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.merged import Frozen, MammogramNet, check_frozen, freeze
from mammojax.models.scanning import plan
from mammojax.representations.scan import record_plans
from mammojax.training.batches import pixel_batches
from mammojax.training.objectives import Auc, Logistic
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Batch, compiled_step, start

OBJECTIVES = {  # in the form that compiles most quickly
    "bce": Logistic(),
    "auc, batch": Auc(pairs="batch", implementation="materialized"),
    "auc, buffers": Auc(pairs="buffer", implementation="materialized"),
    "auc, reservoir": Auc(pairs="buffer", policy="reservoir", capacity=2, implementation="materialized"),
}


class Descent(Optimizer):
    """Plain gradient steps: parameters move by the very gradient."""

    def _direction(self):
        return optax.identity()


PLAIN = Descent(1.0, 2, schedule="constant", warmup=0.0, clip=0.0, decay="penalty", regularisation=0.1)
ADAM = Optimizer(0.01, 2, schedule="constant", warmup=0.0, regularisation=0.1)


class Small(nnx.Module):
    """Scores pixels of any shape by their coarse grey values; costs little, and is not linear."""

    def __init__(self):
        self.hidden = nnx.Linear(4, 8, rngs=nnx.Rngs(0))
        self.score = nnx.Linear(8, 1, rngs=nnx.Rngs(1))

    def __call__(self, x, plan, where=None, progress=1.0):
        x = x[:, :100, :60].reshape(len(x), 2, 50, 2, 30).mean((2, 4)).reshape(len(x), 4) * (1 + plan)
        return self.score(nnx.tanh(self.hidden(x)))[:, 0]


def pixels(shape, count, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, *shape, 1)).astype(np.float32)


LABELS = np.asarray([1, 0, 0, 0, 1, 0], np.int32)


def trained(model, objective, groups, *, optimizer=PLAIN, labels=LABELS):
    """Parameters by path, losses with their penalty, and the last state, after a step on each group."""
    graph, state = start(model, optimizer, objective, labels=labels, seed=3)
    step = compiled_step(graph, optimizer, objective)
    values = []
    for group in groups:
        state, report = step(state, group)
        values.append(float(report.loss) + float(report.penalty))
    return dict(nnx.to_flat_state(state.params)), values, state


@pytest.mark.parametrize(
    "name", ["bce", "auc, reservoir", pytest.param("auc, buffers", marks=pytest.mark.slow)]
)
def test_a_step_over_microbatches_is_the_step_over_one_batch_of_all_images(name):
    images, labels, ids = pixels((100, 60), 6), LABELS, np.arange(6, dtype=np.int32)
    one = (Batch(images, labels, ids, np.ones(6, bool), plan=1),)
    parts = tuple(
        Batch(images[p], labels[p], ids[p], np.asarray(w, bool), plan=1)
        for p, w in (
            ([0, 1], [1, 1]),
            ([2, 3], [1, 1]),
            ([4, 0], [1, 0]),
            ([5, 0], [1, 0]),
        )  # 0 again: padding
    )
    first, _, _ = trained(Small(), OBJECTIVES[name], [])
    whole, values, state = trained(Small(), OBJECTIVES[name], [one, one])  # the second with filled buffers
    apart, found, other = trained(Small(), OBJECTIVES[name], [parts, parts])
    assert found == pytest.approx(values, rel=1e-5)  # one float32 sum in another order, here and below
    for path, value in whole.items():
        # the last bias has no gradient by pairs: rounding alone moves it
        assert np.allclose(apart[path][...], value[...], rtol=1e-5, atol=2e-6), path
        assert path[-1] == "bias" or np.abs(value[...] - first[path][...]).max() > 1e-3
    if state.buffers is not None:
        assert int(state.buffers.counts().sum()) == int(other.buffers.counts().sum()) > 0
    if name == "auc, buffers":
        assert np.array_equal(state.buffers.steps, other.buffers.steps)
        assert np.allclose(state.buffers.scores, other.buffers.scores, rtol=1e-5, atol=1e-6)


def test_images_of_different_plans_share_one_loss():
    one, two = pixels((100, 60), 2), pixels((140, 90), 2, 1)
    labels = np.asarray([1, 0, 0, 1], np.int32)
    group = (
        Batch(one, labels[:2], np.asarray([0, 1]), np.ones(2, bool), plan=1),
        Batch(two, labels[2:], np.asarray([2, 3]), np.ones(2, bool), plan=2),
    )

    def loss_of_all(model):
        scores = jnp.concatenate([model(one, 1), model(two, 2)])
        kernels = [p for p in jax.tree.leaves(nnx.state(model, nnx.Param)) if p.ndim > 1]
        return losses.pairwise_auc_loss(scores, labels) + 0.05 * sum(jnp.sum(k**2) for k in kernels)

    value, gradient = nnx.value_and_grad(loss_of_all)(Small())
    params, (found,), _ = trained(Small(), OBJECTIVES["auc, batch"], [group])
    assert found == pytest.approx(float(value), rel=1e-6)
    before = dict(nnx.to_flat_state(nnx.state(Small(), nnx.Param)))
    for path, slope in dict(nnx.to_flat_state(gradient)).items():
        # float32: parameters near one, less their slopes
        assert np.allclose(before[path][...] - params[path][...], slope[...], rtol=1e-5, atol=1e-6), path


def merged(network, *, frozen=0):
    scanning = copy.deepcopy(network)
    freeze(scanning, frozen)
    return MammogramNet(scanning, Classifier(24, 2, filters=(8,), hidden=(8,), rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("frozen", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_frozen_layers_do_not_move_by_a_bit_and_the_next_one_does(network, frozen):
    made = plan((100, 60), network.backbone, 2)
    ids = np.arange(2, dtype=np.int32)
    group = (
        Batch(pixels(made.input_shape, 2), np.asarray([1, 0], np.int32), ids, np.ones(2, bool), plan=made),
    )
    params, _, state = trained(merged(network, frozen=frozen), Logistic(), [group] * 2, optimizer=ADAM)
    names = list(network.layers)
    after = {**params, **dict(nnx.to_flat_state(state.rest))}
    for depth, name in enumerate(names):
        kernel = after["scanning", "layers", name, "kernel"][...]
        assert np.array_equal(kernel, network.layers[name]["kernel"][...]) == (depth < frozen), name
        assert (("scanning", "layers", name, "kernel") in params) == (depth >= frozen)
    kernel = ("classifier", "score", "kernel")
    assert not np.array_equal(params[kernel][...], merged(network).classifier.score.kernel[...])


def test_the_way_back_ends_at_the_first_layer_that_is_trained(network):
    made = plan((140, 90), network.backbone, 2)
    label, slot = np.asarray([1], np.int32), np.zeros(1, np.int32)
    group = (Batch(pixels(made.input_shape, 1), label, slot, np.ones(1, bool), plan=made),)

    def operations(frozen):
        graph, state = start(merged(network, frozen=frozen), ADAM, Logistic(), labels=label)
        step = compiled_step(graph, ADAM, Logistic())
        return jax.jit(lambda s: step(s, group)).lower(state).cost_analysis()["flops"]

    nothing, some, everything = operations(6), operations(2), operations(0)
    # a trained layer is done forward, once again, and twice on the way back; conv1 and conv2 are most of the work
    assert nothing < some < 0.6 * everything
    assert nothing < 0.3 * everything


def test_what_lies_within_a_layer_is_computed_again_instead_of_kept(network, monkeypatch):
    made = plan((200, 150), network.backbone, 2)
    image = pixels(made.input_shape, 1)

    def kept():
        """Bytes of what the way forward leaves for the way back."""
        graph, params, rest = nnx.split(merged(network), nnx.Param, ...)
        back = jax.eval_shape(
            lambda p: jax.vjp(lambda p: nnx.merge(graph, p, rest)(image, made), p)[1], params
        )
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(back))

    again = kept()
    monkeypatch.setattr(layers.jax, "checkpoint", lambda function: function)
    assert again < 0.3 * kept()


def test_a_group_is_read_anew_with_the_same_changes(pictures, network):
    plans = record_plans(pictures, network, np_=2)
    options = {"batch": 2, "seed": 3, "augmentation": Augmentation(flip=0.5, rotation=5, intensity=0.1)}
    feed = pixel_batches(pictures, range(12), pictures.labels, plans, group=4, **options)
    groups = list(feed(0))
    assert [len(g) for g in groups] == [4, 2]
    seen = []
    for group in groups:
        first, second = list(group), list(group)
        assert len(first) == len(group)
        for a, b in zip(first, second, strict=True):
            assert a.plan == b.plan and np.array_equal(a.inputs, b.inputs) and np.array_equal(a.ids, b.ids)
        seen += [int(i) for batch in first for i in batch.ids[batch.where]]
    assert sorted(seen) == list(range(12))  # every image once
    (everything,) = pixel_batches(pictures, range(12), pictures.labels, plans, group=0, **options)(0)
    assert len(everything) == 6 and len({batch.plan for batch in everything}) == 2


@pytest.mark.parametrize("group", [1, 2])
def test_an_epoch_from_its_middle_on_has_the_batches_and_changes_of_the_whole(pictures, network, group):
    plans = record_plans(pictures, network, np_=2)
    options = {"batch": 2, "seed": 3, "augmentation": Augmentation(flip=0.5, rotation=5, intensity=0.1)}
    feed = pixel_batches(pictures, range(12), pictures.labels, plans, group=group, **options)
    whole, rest = list(map(tuple, feed(1))), list(map(tuple, feed(1, 2)))
    assert len(rest) == len(whole) - 2
    for a, b in zip([x for g in whole[2:] for x in g], [x for g in rest for x in g], strict=True):
        assert a.plan == b.plan and np.array_equal(a.inputs, b.inputs) and np.array_equal(a.ids, b.ids)
    assert list(feed(1, len(whole))) == []


def test_more_frozen_layers_than_there_are_is_an_error_that_counts_them(network):
    says = r"config.finetune.frozen is 7; vgg_m has 6 layers \(conv1 to fc6\), expected 0 to 6"
    with pytest.raises(UserError, match=says):
        check_frozen(7, network.backbone)


def test_frozen_weights_are_no_parameters(network):
    model = merged(network, frozen=2)
    frozen = {path[2] for path, _ in nnx.to_flat_state(nnx.state(model, Frozen))}
    assert frozen == {"conv1", "conv2"}
