"""Trained models on disk: safetensors files with what is needed to build them again, no pickle."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.errors import UserError
from mammojax.runs.files import writing


def save_variables(path: Path, module: nnx.Module, facts: dict) -> None:
    """Writes all variables of `module` but random number states (a saved model draws none), and `facts` (JSON)."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(variable[...]) for name, variable in _variables(module).items()}
    with writing(path) as file:
        file.write(save(arrays, metadata={"facts": json.dumps(facts)}))


def read_facts(path: Path) -> dict:
    """The facts that were saved with a model; UserError if the file is no such model."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return json.loads(file.metadata()["facts"])
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path} is not a model of this program ({type(error).__name__}); train again"
        ) from error


def load_variables(path: Path, module: nnx.Module) -> None:
    """Fills the variables of `module` in place; UserError if names or shapes differ."""
    from safetensors.numpy import load_file

    saved = load_file(str(path))
    variables = _variables(module)
    if {k: v.shape for k, v in saved.items()} != {k: v[...].shape for k, v in variables.items()}:
        raise UserError(f"{path} holds another network than the run's configuration describes; train again")
    for name, variable in variables.items():
        variable[...] = jnp.asarray(saved[name])


def _variables(module: nnx.Module) -> dict[str, nnx.Variable]:
    found = nnx.to_flat_state(nnx.state(module, nnx.Not(nnx.RngState)))
    return {"/".join(map(str, path)): variable for path, variable in found}
