"""The paper's classifier beside its definition in float64: values, and slopes as differences of values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mammojax.models.classifiers.paper import Classifier

CHANNELS = 3


def made() -> tuple[Classifier, dict[str, np.ndarray]]:
    """(model, its parameters in float64), biases not zero."""
    model = Classifier(CHANNELS, 7, filters=(5, 4), hidden=(6,), rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)
    biased = jax.tree.map(
        lambda v: v + rng.normal(0, 0.1, v.shape).astype(np.float32), nnx.state(model, nnx.Param)
    )
    nnx.update(model, biased)
    model.eval()
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return model, {".".join(map(str, path)): np.asarray(value[...], np.float64) for path, value in flat}


def defined(w: dict[str, np.ndarray], maps: np.ndarray) -> np.ndarray:
    """float64[b]: section 4 and Figure 2, pixel by pixel; pooling leaves out a last odd row and column."""
    scores = []
    for x in maps.astype(np.float64):
        for i in range(8):
            if f"convolutions.{i}.kernel" in w:
                x = np.maximum(correlated(x, w[f"convolutions.{i}.kernel"]) + w[f"convolutions.{i}.bias"], 0)
            tall, wide = (2 if side > 1 else 1 for side in x.shape[:2])
            rows, columns = x.shape[0] // tall, x.shape[1] // wide
            x = np.asarray(
                [
                    [
                        x[r * tall : (r + 1) * tall, c * wide : (c + 1) * wide].max((0, 1))
                        for c in range(columns)
                    ]
                    for r in range(rows)
                ]
            )
        hidden = np.maximum(x[0, 0] @ w["dense.0.kernel"] + w["dense.0.bias"], 0)
        scores.append((hidden @ w["score.kernel"] + w["score.bias"])[0])
    return np.asarray(scores)


def correlated(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    rows, columns = x.shape[:2]
    return np.asarray(
        [
            [np.einsum("ijc,ijcd->d", padded[r : r + 3, c : c + 3], kernel) for c in range(columns)]
            for r in range(rows)
        ]
    )


@pytest.mark.parametrize("cells", [(7, 7), (5, 1), (6, 3)])
def test_scores_and_slopes_are_those_of_the_definition(cells):
    model, w = made()
    maps = np.random.default_rng(2).normal(size=(3, *cells, CHANNELS)).astype(np.float32)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def run(params):
        return jax.value_and_grad(lambda p: nnx.merge(graph, p, rest)(maps).sum())(params)

    scores = jax.jit(model)(jnp.asarray(maps))
    # float32 sums of a hundred terms of order one
    np.testing.assert_allclose(np.asarray(scores), defined(w, maps), rtol=2e-5, atol=2e-6)

    slopes = nnx.to_flat_state(run(params)[1])
    found = {".".join(map(str, path)): np.asarray(value[...], np.float64) for path, value in slopes}
    rng = np.random.default_rng(3)
    for name in w:  # along a direction in one layer at a time; steps so small that no maximum changes hands
        direction, step = rng.normal(size=w[name].shape), 1e-7
        up, down = ({**w, name: w[name] + sign * step * direction} for sign in (1, -1))
        expected = (defined(up, maps).sum() - defined(down, maps).sum()) / (2 * step)
        # float32 sums of a hundred terms of order one, weighed by a direction; a difference of float64 at this step
        # loses 1e-8 at most
        assert (found[name] * direction).sum() == pytest.approx(expected, rel=1e-4, abs=1e-5), name


def test_what_is_not_pooled_is_not_computed_and_every_layer_can_be_shown_whole():
    model, _ = made()
    x = jnp.asarray(np.random.default_rng(4).normal(size=(2, 7, 7, CHANNELS)), jnp.float32)
    whole, read = x, x
    for (name, full), (same, least) in zip(model.layers(7), model.layers(7, whole=False), strict=True):
        whole, read = full(whole), least(read)
        assert name == same
        if name == "conv1":
            assert whole.shape[1:3] == (7, 7) and read.shape[1:3] == (6, 6)
        if name.startswith("pool"):
            np.testing.assert_allclose(whole, read, rtol=1e-5, atol=1e-6)  # products of other sizes
