"""Converted weights: one safetensors file a network that says where its numbers come from and whether they are whole.

Tensors are `<layer>.kernel` (HWIO) and `<layer>.bias` in float32. The metadata holds the backbone, the published file's
name, sha256 and format, the input recipe, the converter's version, and a sha256 over all tensors that is verified when
the file is read. A safetensors file without such metadata can be read too, as one's own weights.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from mammojax import __version__
from mammojax.errors import UserError
from mammojax.runs.files import sha256_of, writing

Layers = dict[str, dict[str, np.ndarray]]
_REMEDY = "python -m launch.convert_weights makes one of the published file"


@dataclass(frozen=True)
class Recipe:
    """How a pixel in 0..255 enters the first convolution: (x - mean) / deviation of each channel, in this order.

    What the first convolution pads with comes after: zeros, hence the mean colour.
    """

    order: Literal["RGB", "BGR"]
    means: tuple[float, float, float]
    deviations: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def grey(self, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(float64[h, w, o], float64[h, w, o]): the first kernel [h, w, 3, o] for a grey pixel g: what each of its
        places adds to an output is slope g - offset."""
        share = kernel.astype(np.float64) / np.asarray(self.deviations)[:, None]
        return share.sum(2), np.einsum("hwco,c->hwo", share, np.asarray(self.means))


@dataclass(frozen=True)
class Weights:
    """layers: {layer: {"kernel", "bias"}}. recipe: None where the file has none. facts: of the conversion, {} for a file
    that was not converted. identity: a sha256 over tensors and recipe."""

    layers: Layers
    recipe: Recipe | None = None
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        return hashlib.sha256(f"{_digest(_tensors(self.layers))} {self.recipe}".encode()).hexdigest()

    def describe(self, path: Path) -> str:
        """For people: the published file that the numbers come from, or this one."""
        if not self.facts:
            return f"{path.name}, sha256 {self.identity[:12]}"
        return f"{self.facts['source']}, sha256 {self.facts['source_sha256'][:12]}"


def write_weights(path: Path, backbone: str, weights: Weights, source: Path) -> None:
    """Writes a converted file, whole or not at all. weights.facts: more lines of provenance; source: what was read."""
    from safetensors.numpy import save

    tensors = _tensors(weights.layers)
    facts = {
        **weights.facts,
        "backbone": backbone,
        "source": source.name,
        "source_sha256": sha256_of(source),
        "converter": f"mammojax {__version__}",
        "tensors_sha256": _digest(tensors),
    }
    if weights.recipe is not None:
        facts["recipe"] = json.dumps(asdict(weights.recipe))
    with writing(path) as file:
        file.write(save(tensors, metadata=facts))


def read_weights(path: Path, backbone: str) -> Weights:
    """The weights of this backbone in a safetensors file, verified where it was converted.

    Raises UserError for a file that is absent, damaged, no safetensors file, or of another backbone.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); give a safetensors file of {backbone}"
        ) from error
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = header.get("__metadata__", {})
        layers: Layers = {}
        for name, values in tensors.items():
            layer, part = name.rsplit(".", 1)
            layers.setdefault(layer, {})[part] = values
        recipe = _recipe(facts["recipe"]) if "recipe" in facts else None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no safetensors file of {backbone} ({str(error).splitlines()[0]}); {_REMEDY}"
        ) from error
    if "tensors_sha256" in facts:
        if facts.get("backbone") != backbone:
            raise UserError(f"{path} holds weights of {facts.get('backbone')!r}, expected {backbone!r}")
        if _digest(tensors) != facts["tensors_sha256"] or not {"source", "source_sha256"} <= set(facts):
            raise UserError(f"{path} is damaged: its checksum is not that of its tensors; convert it again")
    return Weights(layers, recipe, facts if "tensors_sha256" in facts else {})


def how_to_convert(backbone: str, published: dict[str, str]) -> str:
    """What to do where weights are absent. published: {file: address}, the first one in the command."""
    files = " or ".join(f"{file} ({address})" for file, address in published.items())
    made = f"{backbone}.safetensors"
    return (
        f"download {files}, convert it with python -m launch.convert_weights --backbone={backbone} "
        f"--source={next(iter(published))} --out={made} and give it as --config.model.weights={made}"
    )


def is_safetensors(path: Path) -> bool:
    """Whether a file starts like a safetensors file: eight bytes of length, then JSON."""
    with Path(path).open("rb") as file:
        return file.read(9)[8:] == b"{"


def check_layers(layers: Layers, shapes: dict[str, tuple[int, ...]], where: Path) -> None:
    """Raises UserError unless every layer of `shapes` has a finite kernel of that shape (HWIO) and a bias."""
    for name, shape in shapes.items():
        for part, expected in (("kernel", shape), ("bias", shape[-1:])):
            values = layers.get(name, {}).get(part)
            if values is None:
                raise UserError(
                    f"{where} is of another network: it has no {name}.{part}; give the published file"
                )
            if values.shape != expected or values.dtype.kind != "f":
                raise UserError(
                    f"{where}: {name}.{part} is {values.dtype}{list(values.shape)}, expected {list(expected)}"
                )
            if not np.isfinite(values).all():
                raise UserError(
                    f"{where}: {name}.{part} holds numbers that are not finite; download it again"
                )


def _tensors(layers: Layers) -> dict[str, np.ndarray]:
    return {
        f"{layer}.{part}": np.ascontiguousarray(values, np.float32)
        for layer, parts in layers.items()
        for part, values in parts.items()
    }


def _digest(tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _recipe(text: str) -> Recipe:
    found = json.loads(text)
    means, deviations = (tuple(map(float, found[name])) for name in ("means", "deviations"))
    if found["order"] not in ("RGB", "BGR") or not len(means) == len(deviations) == 3 or min(deviations) <= 0:
        raise ValueError(f"its input recipe is {text}")
    return Recipe(found["order"], means, deviations)
