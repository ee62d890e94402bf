"""The train state: everything that changes from step to step, one pytree on the device."""

from typing import Any, NamedTuple


class TrainState(NamedTuple):
    """params: the trainable variables. rest: all other variables of the model (normalisation, dropout's counts).
    opt_state: Optax' state. buffers: `ScoreBuffers`, or None for losses without pairs. step: int32, optimiser steps
    taken.
    """

    params: Any
    rest: Any
    opt_state: Any
    buffers: Any
    step: Any
