"""Programs that compute the pairwise loss and its gradient: this library's, and those of others that are installed.

Each is prepared for given scores and called without arguments: only the computation lies between call and return.
A peer gets the loss in the words of its own documentation, and its classes already apart where it wants them so.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.benchmarks.timing import Unavailable, device_name
from mammojax.losses import pairwise_auc_loss
from mammojax.losses.pairwise import IMPLEMENTATIONS


class Prepared(NamedTuple):
    """A program ready to run.

    call: computes, waits for the device, and returns what the program returns. unpacked: of that, (loss, gradient
    float[n]). temporary: bytes beside arguments and results, as the compiler states them; None where nothing does.
    device: where it runs.
    """

    call: Callable[[], object]
    unpacked: Callable[[object], tuple[float, np.ndarray]]
    temporary: int | None
    device: str


def prepare(name: str, scores: np.ndarray, labels: np.ndarray, surrogate: str) -> Prepared:
    """The program `name`, an implementation of the library or one of `PEERS`, for these scores.

    scores: float32[n]. labels: int32[n] in {0, 1}, both present. The loss is the mean over pairs, without margin.
    Raises Unavailable if the program is not installed or does not have the surrogate.
    """
    if name in IMPLEMENTATIONS:
        size = scores.shape[0]
        compiled = _compiled(name, surrogate, size)
        return _in_jax(compiled, (jnp.asarray(scores), jnp.asarray(labels)), lambda gradient: gradient)
    try:
        return PEERS[name](scores, labels, surrogate)
    except ImportError as error:
        raise Unavailable(f"not installed ({error})") from error


def exp_and_sum(scores: np.ndarray) -> Callable[[], object]:
    """One pass of exp and sum over the scores: the cost of touching them at all."""
    scores = jnp.asarray(scores)
    compiled = jax.jit(lambda s: jnp.sum(jnp.exp(s))).lower(scores).compile()
    return lambda: jax.block_until_ready(compiled(scores))


@functools.lru_cache(maxsize=64)  # labels are data: one program serves every positive rate
def _compiled(implementation, surrogate, size):
    def loss(scores, labels):
        return pairwise_auc_loss(scores, labels, surrogate=surrogate, implementation=implementation)

    shapes = jax.ShapeDtypeStruct((size,), jnp.float32), jax.ShapeDtypeStruct((size,), jnp.int32)
    return jax.jit(jax.value_and_grad(loss)).lower(*shapes).compile()


def _in_jax(compiled, arguments, gathered):
    memory = compiled.memory_analysis()
    return Prepared(
        call=lambda: jax.block_until_ready(compiled(*arguments)),
        unpacked=lambda result: (float(result[0]), np.asarray(gathered(result[1]))),
        temporary=None if memory is None else int(memory.temp_size_in_bytes),
        device=device_name(),
    )


def _known(table, surrogate):
    if surrogate not in table:
        raise Unavailable(f"it has no loss {surrogate}")
    return table[surrogate]


def _together(labels, by_class):
    """float[n]: gradients of the positives and of the negatives in the order of the labels."""
    gradient = np.empty(labels.shape, np.float32)
    for label, part in zip((1, 0), by_class):
        gradient[labels == label] = np.asarray(part).ravel()
    return gradient


def _jax_broadcast(scores, labels, surrogate):
    value = _known(
        {
            "logistic": jax.nn.softplus,
            "sigmoid": jax.nn.sigmoid,
            "hinge": lambda d: jax.nn.relu(1 + d),
            "squared_hinge": lambda d: jax.nn.relu(1 + d) ** 2,
            "square": lambda d: (1 + d) ** 2,
        },
        surrogate,
    )
    arguments = jnp.asarray(scores[labels == 1]), jnp.asarray(scores[labels == 0])
    program = jax.jit(
        jax.value_and_grad(lambda p, n: jnp.mean(value(n[None, :] - p[:, None])), argnums=(0, 1))
    )
    return _in_jax(program.lower(*arguments).compile(), arguments, lambda parts: _together(labels, parts))


def _rax(scores, labels, surrogate):
    import rax

    loss = _known({"logistic": rax.pairwise_logistic_loss, "hinge": rax.pairwise_hinge_loss}, surrogate)
    pairs = float(np.sum(labels == 1)) * float(np.sum(labels == 0))
    arguments = jnp.asarray(scores), jnp.asarray(labels, jnp.float32)
    program = jax.jit(jax.value_and_grad(lambda s, y: loss(s, y, reduce_fn=jnp.sum) / pairs))
    return _in_jax(program.lower(*arguments).compile(), arguments, lambda gradient: gradient)


def _torch_broadcast(scores, labels, surrogate):
    import torch
    from torch.nn import functional

    value = _known(
        {
            "logistic": functional.softplus,
            "sigmoid": torch.sigmoid,
            "hinge": lambda d: torch.relu(1 + d),
            "squared_hinge": lambda d: torch.relu(1 + d) ** 2,
            "square": lambda d: (1 + d) ** 2,
        },
        surrogate,
    )
    return _in_torch(
        scores,
        labels,
        (scores[labels == 1], scores[labels == 0]),
        lambda p, n: value(n[None, :] - p[:, None]).mean(),
    )


def _libauc(scores, labels, surrogate):
    import torch
    from libauc.losses.auc import PairwiseAUCLoss

    names = {"logistic": "logistic", "hinge": "hinge", "squared_hinge": "squared_hinge", "square": "squared"}
    loss = PairwiseAUCLoss(surr_loss=_known(names, surrogate))
    given = torch.as_tensor(labels, device=_torch_device())
    return _in_torch(scores, labels, (scores,), lambda s: loss(s, given))


def _keops(scores, labels, surrogate):
    import pykeops

    pykeops.set_verbose(False)
    from pykeops.torch import LazyTensor

    value = _known(
        {
            "logistic": lambda d: d.relu() + (1 + (-d.abs()).exp()).log(),
            "sigmoid": lambda d: 1 / (1 + (-d).exp()),
            "hinge": lambda d: (1 + d).relu(),
            "squared_hinge": lambda d: (1 + d).relu() ** 2,
            "square": lambda d: (1 + d) ** 2,
        },
        surrogate,
    )

    def loss(p, n):
        d = LazyTensor(n[None, :, None]) - LazyTensor(p[:, None, None])
        return value(d).sum(1).sum() / (p.numel() * n.numel())

    return _in_torch(scores, labels, (scores[labels == 1], scores[labels == 0]), loss)


def _aum(scores, labels, _surrogate):
    """Of one loss whatever the surrogate: the area under the minimum of the false positive and false negative rates over all
    thresholds (Hillman and Hocking 2023), its slopes by autograd through one sort."""
    import torch

    positive = torch.as_tensor(labels == 1, device=_torch_device())
    positives, negatives = int(positive.sum()), int((~positive).sum())

    def loss(s):
        ordered, order = torch.sort(s)
        missed = (
            torch.cumsum(positive[order], 0)[:-1] / positives
        )  # by a threshold above each score but the last
        raised = 1 - torch.cumsum(~positive[order], 0)[:-1] / negatives
        return (torch.diff(ordered) * torch.minimum(missed, raised)).sum()

    return _in_torch(scores, labels, (scores,), loss)


def _torch_device():
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _in_torch(scores, labels, inputs, loss):
    import torch

    device = _torch_device()
    inputs = [torch.tensor(x, device=device, requires_grad=True) for x in inputs]

    def call():
        value = loss(*inputs)
        gradients = torch.autograd.grad(value, inputs)
        if device == "cuda":
            torch.cuda.synchronize()
        return value, gradients

    def unpacked(result):
        parts = [part.detach().cpu().numpy() for part in result[1]]
        return float(result[0].detach()), parts[0].ravel() if len(parts) == 1 else _together(labels, parts)

    on = device_name() if device == "cpu" and jax.default_backend() == "cpu" else f"{device} (torch)"
    return Prepared(call, unpacked, None, on)


PEERS: dict[str, Callable[..., Prepared]] = {
    "jax": _jax_broadcast,
    "torch": _torch_broadcast,
    "rax": _rax,
    "libauc": _libauc,
    "keops": _keops,
    "aum": _aum,
}
# peers that minimise another loss, and sort: they are compared in time and with their own definition
SORTING = ("aum",)
