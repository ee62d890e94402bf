"""The optimiser: Adam with clipping, a schedule, and a shrinkage that does what it says.

lambda acts in one of two forms. "decoupled" (Loshchilov and Hutter 2019): each step takes rate * lambda of a kernel away,
whatever its gradient. "penalty" is the paper's lambda/2 ||W||^2 as a term of the loss; Adam divides its gradient by the
size of the whole gradient, so that a small lambda shrinks nothing: values of 1 to 2 on a mean loss do (measured on
heads of some hundred weights). In stage two both pull towards the pretrained kernels, not towards zero.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How parameters move; hashable. steps: of the whole schedule; not compared, since programs take it from the state.

    schedule: constant, cosine, linear (to 0), or step (x 0.3 after 70% of the steps). warmup: share of the steps over
    which the rate rises from 0. clip: largest global norm of the gradient, 0 for none. decay, regularisation: the form
    and the size of lambda. average: decay of the running mean of the parameters, 0 for none. scanning_rate: factor of
    the rate for the parameters of a scanning network in a merged graph.
    """

    learning_rate: float
    steps: int = dataclasses.field(compare=False)
    schedule: str = "cosine"
    warmup: float = 0.05
    clip: float = 1.0
    decay: str = "decoupled"
    regularisation: float = 0.0
    average: float = 0.0
    scanning_rate: float = 1.0

    def rate(self, step, steps) -> jax.Array:
        """float32[]: the learning rate of step 0, 1, ... of `steps`. What Optax gives for one number of steps, as a function
        of it."""
        step, steps = (jnp.asarray(n, jnp.float32) for n in (step, steps))
        rising = jnp.round(self.warmup * steps)
        falling = jnp.maximum(steps - rising, 1)
        after = step - rising
        done = jnp.clip(after / falling, 0, 1)
        tail = {
            "constant": lambda: jnp.ones(()),
            "cosine": lambda: 0.5 * (1 + jnp.cos(jnp.pi * done)),
            "linear": lambda: 1 - done,
            "step": lambda: jnp.where(after < jnp.round(0.7 * falling), 1.0, 0.3),
        }[self.schedule]()
        return self.learning_rate * jnp.where(step < rising, step / jnp.maximum(rising, 1), tail)

    def _direction(self) -> optax.GradientTransformation:
        parts = [optax.clip_by_global_norm(self.clip)] if self.clip else []
        return optax.chain(*parts, optax.scale_by_adam())

    def init(self, params) -> Any:
        """The state of the optimiser at step 0."""
        return self._direction().init(params)

    def penalty(self, params, anchor=None) -> jax.Array:
        """float32[]: lambda/2 ||W - anchor||^2 over kernels; a term of the loss only where decay is "penalty"."""
        return 0.5 * self.regularisation * squared_distance(params, anchor)

    def update(self, gradient, state, params, rate, anchor=None) -> tuple[Any, Any]:
        """(parameters, state) after one step. rate: of this step. anchor: what decay pulls to, a tree like params; None for
        zero."""
        direction, state = self._direction().update(gradient, state, params)
        anchor = jax.tree.map(jnp.zeros_like, params) if anchor is None else anchor

        def moved(path, p, d, a):
            own = rate * (self.scanning_rate if "scanning" in jax.tree_util.keystr(path[:1]) else 1.0)
            if self.decay == "decoupled" and is_kernel(p):
                d = d + self.regularisation * (p - a)
            return p - own * d

        return jax.tree_util.tree_map_with_path(moved, params, direction, anchor), state

    def averaged(self, average, params, step):
        """The running mean of the parameters, without the bias of its start."""
        kept = jnp.minimum(self.average, step / (step + 1.0))  # the plain mean of the first steps
        return jax.tree.map(lambda a, p: kept * a + (1 - kept) * p, average, params)


def is_kernel(parameter) -> bool:
    """Kernels have two axes and more; biases are not shrunk."""
    return parameter.ndim > 1


def squared_distance(params, anchor=None) -> jax.Array:
    """float32[]: ||W - anchor||^2 over kernels."""
    zero = jnp.float32(0)
    if anchor is None:
        anchor = jax.tree.map(lambda p: 0, params)
    terms = jax.tree.map(
        lambda p, a: jnp.sum(jnp.square((p - a).astype(jnp.float32))) if is_kernel(p) else zero,
        params,
        anchor,
    )
    return sum(jax.tree.leaves(terms), zero)
