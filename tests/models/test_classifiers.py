"""Classifiers of maps against float64, and what holds for all of them: padding, bags without tissue, the table."""

import functools
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from mammojax import settings
from mammojax.errors import UserError
from mammojax.models import classifiers
from mammojax.models.classifiers.mil import POOLS, MultipleInstance
from mammojax.models.classifiers.pooled import STATISTICS, PooledStatistics
from mammojax.models.classifiers.top_share import kth_largest, mean_of_top

CHANNELS = 5
SHAPE = (6, 4, 7, CHANNELS)  # images, rows, columns, channels
RNG = np.random.default_rng(0)
MAPS = RNG.normal(1, 2, SHAPE).astype(np.float32)
WHERE = RNG.uniform(size=SHAPE[:3]) < np.asarray([1, 0.7, 0.5, 0.3, 0.1, 0])[:, None, None]
WHERE[4, 0, 0] = True  # the last image alone has no tissue
MEAN, DEVIATION = RNG.normal(size=CHANNELS), RNG.uniform(0.3, 2, CHANNELS)
CLOSE = {"rtol": 2e-5, "atol": 2e-6}  # float32 sums of some hundred terms of order one


def mil(**options) -> MultipleInstance:
    """With weights of order one, so that pools tell cells apart."""
    model = MultipleInstance(CHANNELS, rngs=nnx.Rngs(1), **options)
    rng = np.random.default_rng(2)
    drawn = jax.tree.map(
        lambda v: rng.normal(0, 0.5, v.shape).astype(np.float32), nnx.state(model, nnx.Param)
    )
    nnx.update(model, drawn)
    model.set_normalisation(MEAN, DEVIATION)
    model.eval()
    return model


def weights(model) -> dict:
    """{path: float64} of the parameters."""
    state = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): np.asarray(value[...], np.float64) for path, value in state}


def reference(w: dict, model: MultipleInstance, progress=1.0) -> np.ndarray:
    """float64[b]: of the model's pool with weights w, bag by bag, by sorting."""
    out = []
    for x, tissue in zip(MAPS.astype(np.float64), WHERE):
        x = np.clip((x[tissue] - MEAN) / DEVIATION, -6, 6)
        x = np.maximum(x @ w["hidden.kernel"] + w["hidden.bias"], 0) if "hidden.kernel" in w else x
        s = (x @ w["score.kernel"])[:, 0]
        if len(s) == 0:
            pooled = 0.0
        elif model.pool == "mean":
            pooled = s.mean()
        elif model.pool == "lse":
            pooled = model.temperature * np.log(np.mean(np.exp(s / model.temperature)))
        elif model.pool == "attention":  # Ilse et al. 2018, eq. 9
            signal = np.tanh(x @ w["signal.kernel"] + w["signal.bias"])
            gate = 1 / (1 + np.exp(-(x @ w["gate.kernel"] + w["gate.bias"])))
            a = np.exp((signal * gate) @ w["attention.kernel"])[:, 0]
            pooled = (a * s).sum() / a.sum()
        else:
            share = model.top ** min(1, progress / model.anneal) if model.anneal else model.top
            k = max(1, int(np.round(share * len(s))))
            pooled = np.sort(s)[-k:].mean()
        out.append(pooled + w["bias"])
    return np.asarray(out)


def pooled() -> PooledStatistics:
    model = PooledStatistics(CHANNELS, statistics=STATISTICS, top=0.2, rngs=nnx.Rngs(0))
    model.set_normalisation(MEAN, DEVIATION)
    return model


MODELS = {
    **{pool: mil(pool=pool, top=0.2, temperature=0.7) for pool in POOLS},
    "hidden": mil(hidden=3, top=0.2),
    "attention, hidden": mil(pool="attention", hidden=3),
    "pooled": pooled(),
}
MIX = np.random.default_rng(3).normal(size=SHAPE[0])


@functools.cache
def program(name: str):
    """(parameters, run): run(params, maps, progress) -> (slopes of parameters, of maps), scores; compiled once."""
    graph, params, rest = nnx.split(MODELS[name], nnx.Param, ...)

    def total(params, maps, progress):
        scores = nnx.merge(graph, params, rest)(maps, WHERE, progress)
        return jnp.sum(scores * MIX), scores

    return params, jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))


def scores_of(name: str, maps=MAPS, progress=1.0) -> np.ndarray:
    params, run = program(name)
    return np.asarray(run(params, maps, jnp.float32(progress))[1])


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_their_definition_in_float64(name):
    if name == "pooled":
        expected = pooled_reference(MODELS[name])
    else:
        expected = reference(weights(MODELS[name]), MODELS[name])
    assert scores_of(name).dtype == np.float32
    assert np.allclose(scores_of(name), expected, **CLOSE)


def pooled_reference(model) -> np.ndarray:
    w, b = (np.asarray(v[...], np.float64) for v in (model.score.kernel, model.score.bias))
    expected = []
    for x, tissue in zip(MAPS.astype(np.float64), WHERE):
        x = np.sort(np.clip((x[tissue] - MEAN) / DEVIATION, -6, 6), 0)
        k = max(1, int(np.round(0.2 * len(x))))
        spread = np.sqrt(x.var(0) + 1e-6) - 1e-3 if len(x) else np.zeros(CHANNELS)
        of = [x.mean(0), x[-k:].mean(0), x[:k].mean(0), spread] if len(x) else [np.zeros(CHANNELS)] * 4
        expected.append((np.concatenate(of) @ w + b)[0])
    return np.asarray(expected)


def test_the_share_of_cells_falls_geometrically_within_one_program():
    model = MODELS["top"]
    params, run = program("top")
    scores_of("top")
    before = run._cache_size()
    for step in range(0, 51, 5):  # the trial's steps: t - 1 of 50, annealed over the first 20
        share = 0.2 if step >= 20 else 0.2 ** (step / 20)
        assert float(model.share(step / 50)) == pytest.approx(share, rel=1e-5)
        expected = reference(weights(model), model, step / 50)
        assert np.allclose(scores_of("top", progress=step / 50), expected, **CLOSE)
    assert run._cache_size() == before == 1
    assert np.allclose(scores_of("top", progress=0), scores_of("mean"), **CLOSE)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "pooled"])
def test_gradients_of_mil_are_those_of_the_definition(name):
    model, (params, run) = MODELS[name], program(name)
    (slopes, _), _ = run(params, MAPS, jnp.float32(0.3))
    values, step = weights(model), 1e-5
    for path, slope in nnx.to_flat_state(slopes):
        key, slope = ".".join(map(str, path)), np.asarray(slope[...]).reshape(-1)
        at = int(np.argmax(np.abs(slope)))
        moved = [values[key].copy() for _ in range(2)]
        moved[0].reshape(-1)[at] += step
        moved[1].reshape(-1)[at] -= step
        high, low = (MIX @ reference(values | {key: value}, model, 0.3) for value in moved)
        # float32 gradients; central differences of float64 are good to step^2
        assert slope[at] == pytest.approx((high - low) / (2 * step), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
def test_what_lies_outside_tissue_changes_no_bit_of_scores_and_gradients(name, value):
    params, run = program(name)
    spoilt = np.where(WHERE[..., None], MAPS, np.float32(value))
    plain, other = (run(params, maps, jnp.float32(0.2)) for maps in (MAPS, spoilt))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(other)):
        assert np.array_equal(a, b) and np.isfinite(a).all()
    (_, slopes), _ = other
    assert not np.asarray(slopes)[~WHERE].any() and np.asarray(slopes)[WHERE].any()


@pytest.mark.parametrize("name", MODELS)
def test_an_image_without_tissue_scores_the_bias_and_a_value_that_is_no_number_shows(name):
    model = MODELS[name]
    bias = model.score.bias[...][0] if name == "pooled" else model.bias[...]
    assert scores_of(name)[-1] == bias and scores_of(name)[0] != bias
    maps = MAPS.copy()
    row, column = np.argwhere(WHERE[1])[0]
    maps[1, row, column] = np.nan
    assert np.array_equal(np.isnan(scores_of(name, maps)), np.arange(SHAPE[0]) == 1)


def test_equal_values_share_the_last_places_of_the_top():
    """Through a hidden layer many cells are exactly equal; the trial's sum over them was no mean."""
    values = jnp.asarray([[3.0, 1.0, 1.0, 1.0, 0.0, 0.0, -2.0, -2.0, -2.0, -2.0], [0.5] * 10])
    of_two = jax.jit(lambda v: mean_of_top(v, jnp.ones((2, 10), bool), 0.2))
    assert np.allclose(of_two(values), [(3 + 1) / 2, 0.5], rtol=1e-6)
    slopes = jax.grad(lambda v: of_two(v)[0])(values)
    assert np.allclose(slopes, [[1 / 2, *(1 / 6,) * 3, *(0,) * 6], [0] * 10])


@trials(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=12, max_size=12),
    st.integers(1, 12),
)
def test_the_kth_largest_is_the_one_of_the_sorted_values(values, k):
    values = np.asarray([values, values[::-1]], np.float32)
    found = KTH(values, np.asarray([k, k], np.int32))
    assert np.array_equal(found, np.sort(values, 1)[:, -k])


KTH = jax.jit(kth_largest)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "pooled"])
def test_the_scores_of_cells_pool_to_the_score_of_the_image(name):
    model = MODELS[name]
    cells = np.asarray(model.cell_scores(MAPS, WHERE), np.float64)
    assert cells.shape == SHAPE[:3] and np.array_equal(np.isnan(cells), ~WHERE)
    for score, values in zip(scores_of(name)[:-1], (c[w] for c, w in zip(cells, WHERE))):
        if model.pool == "top":
            expected = np.sort(values)[-max(1, round(0.2 * len(values))) :].mean()
        elif model.pool == "lse":
            expected = 0.7 * np.log(np.mean(np.exp(values / 0.7)))
        else:
            expected = values.mean()
        assert score == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_high_temperature_of_log_sum_exp_is_the_mean():
    hot, mean = mil(pool="lse", temperature=1e6), mil(pool="mean")
    # the variance of the cells over twice the temperature is far below rounding
    assert np.allclose(hot(MAPS, WHERE), mean(MAPS, WHERE), **CLOSE)


@pytest.mark.parametrize("name", ["paper", "pooled"])
def test_a_classifier_without_scores_of_cells_says_so(name):
    with pytest.raises(UserError, match=f"{name} gives no score a cell"):
        built(name).cell_scores(MAPS, WHERE)


def test_dropout_leaves_out_whole_channels_while_training_and_nothing_else():
    model = mil(pool="mean", dropout=0.5)
    only = MAPS.copy()
    only[..., 1:] = MEAN[
        1:
    ]  # one channel is left: an image's score is the bias, or twice what the channel gives
    run = nnx.jit(lambda model: model(only, WHERE))
    bias, plain = float(model.bias[...]), np.asarray(run(model))
    assert np.allclose(plain, scores_of("mean", only), rtol=1e-6)
    model.train()
    seen = np.stack([run(model) for _ in range(4)])
    twice = bias + 2 * (plain - bias)
    assert (np.minimum(abs(seen - bias), abs(seen - twice)) < 1e-5).all()
    assert len(np.unique((abs(seen - bias) < 1e-5)[:, :-1])) == 2


def built(name: str):
    section = settings.Paper((4,), (4,)) if name == "paper" else getattr(settings.Model(), name)
    return classifiers.classifier_module(name).build((4, 7, CHANNELS), section, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", classifiers.CLASSIFIERS)
def test_every_classifier_is_built_from_its_section_and_called_alike(name):
    model = built(name)
    model.set_normalisation(MEAN, DEVIATION)
    run = nnx.jit(lambda model, progress: model(MAPS, WHERE, progress))
    scores = run(model, jnp.float32(1))
    assert scores.shape == SHAPE[:1] and scores.dtype == jnp.float32 and np.isfinite(scores).all()
    nnx.update(model, jax.tree.map(np.zeros_like, nnx.state(model, nnx.Param)))
    assert not np.asarray(run(model, jnp.float32(1))).any()


@pytest.mark.parametrize("name", [*MODELS, "paper"])
def test_a_step_on_several_devices_can_be_built(name):
    """Traced alone, for two devices that need not be there: what differs by device is of a type of its own."""
    model = built(name) if name == "paper" else MODELS[name]
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    mesh = jax.sharding.AbstractMesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole, spread = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("data")

    def gradient(params, maps, where):
        def mean(params):
            scores = nnx.merge(graph, params, rest, copy=True)(maps, where, jnp.float32(0.5))
            return jax.lax.pmean(jnp.mean(scores), "data")

        return jax.grad(mean)(params)

    mapped = jax.shard_map(gradient, mesh=mesh, in_specs=(whole, spread, spread), out_specs=whole)
    found = jax.eval_shape(mapped, params, MAPS, WHERE)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, params)


def test_a_classifier_is_one_file_and_one_line(monkeypatch):
    class Brightest(nnx.Module):
        def __call__(self, maps, where, progress):
            return jnp.where(where[..., None], maps, -jnp.inf).max((1, 2, 3))

    module = types.ModuleType("brightest")
    module.build = lambda shape, options, *, rngs: Brightest()
    monkeypatch.setitem(sys.modules, "brightest", module)
    monkeypatch.setitem(classifiers.CLASSIFIERS, "brightest", "brightest")
    model = classifiers.classifier_module("brightest").build((None, None, 5), None, rngs=None)
    assert model(MAPS, WHERE, 1.0)[0] == MAPS[0].max()


def test_what_cannot_be_built_is_said_in_one_line():
    with pytest.raises(UserError, match="unknown classifier 'svm'; known are paper, mil, pooled"):
        classifiers.classifier_module("svm")
    with pytest.raises(UserError, match="unknown pool 'max'"):
        mil(pool="max")
    with pytest.raises(UserError, match="statistics is .'median',.; expected some of mean, top"):
        PooledStatistics(CHANNELS, statistics=("median",), rngs=nnx.Rngs(0))
    paper = classifiers.classifier_module("paper")
    with pytest.raises(UserError, match="np x np cells .* set config.model.map=grid"):
        paper.build((None, None, 5), settings.Paper(), rngs=nnx.Rngs(0))
