"""Trained models on disk: one safetensors file with the arrays and, as JSON, all that it takes to use them. No pickle."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.errors import UserError
from mammojax.runs.files import writing


def save_arrays(path: Path, arrays: dict[str, np.ndarray], facts: dict) -> None:
    """Writes arrays by name and `facts` (JSON), whole or not at all."""
    from safetensors.numpy import save

    # not ascontiguousarray, which gives a number an axis: a model that is read back would not have its own shape
    held = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    with writing(path) as file:
        file.write(save(held, metadata={"facts": json.dumps(facts, sort_keys=True)}))


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays, facts) of `save_arrays`; UserError if the file is no such model or holds NaN."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            facts = json.loads(file.metadata()["facts"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 no mapping
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a model of this program ({type(error).__name__}); train again"
        ) from error
    broken = [name for name, value in arrays.items() if np.isnan(value).any()]
    if broken:
        raise UserError(f"{path} holds NaN in {broken[0]}; train again")
    return arrays, facts


def arrays_of(module: nnx.Module, prefix: str = "") -> dict[str, np.ndarray]:
    """All variables of a module but random number states (a saved model draws none), by their paths."""
    return {prefix + name: np.asarray(variable[...]) for name, variable in _variables(module).items()}


def fill(module: nnx.Module, arrays: dict[str, np.ndarray], prefix: str = "") -> None:
    """Fills the variables of `module` in place; UserError if names or shapes differ."""
    own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    variables = _variables(module)
    if {k: v.shape for k, v in own.items()} != {k: v[...].shape for k, v in variables.items()}:
        raise UserError("the model file holds another network than its description says; train again")
    for name, variable in variables.items():
        variable[...] = jnp.asarray(own[name])


def _variables(module: nnx.Module) -> dict[str, nnx.Variable]:
    found = nnx.to_flat_state(nnx.state(module, nnx.Not(nnx.RngState)))
    return {"/".join(map(str, path)): variable for path, variable in found}
