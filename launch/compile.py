"""Compiles what the launchers run for TPUs and GPUs that nobody has here: does a job fit before it queues?

Compiles the loss over all chips of a topology, on one chip the scan, and on one (with --spread on all) a training step of
either stage; prints what each needs of a chip's memory, what it sends, and the least time that it can take by operations and
bytes. The part "losses" is every form of the loss library, as a table, "layers" the slopes of every layer of the scanning
network. Needs a compiler and no device: pip install libtpu, or jax-cuda12-plugin, jax-cuda12-pjrt and nvidia-cuda-nvcc-cu12.
Minutes of CPU time a program; --effort=-1 takes a TPU's compiler a fraction of that, for a program that keeps more in memory and
is run with JAX_EXEC_TIME_OPTIMIZATION_EFFORT=-1.

Examples:
  python -m launch.compile --topology=v5e:2x2
  python -m launch.compile --topology=h100:4
  python -m launch.compile --topology=v5e:2x2 --part=stage_two --effort=-1 --minutes=20
  python -m launch.compile --part=losses --matching=auc
  python -m launch.compile --topology=h100:8 --part=stage_one --spread --shard=65536
  python -m launch.compile --topology=v5e:4x4 --crop=4084,3328 --batch=4 --precision=bfloat16 --part=scan
"""

from absl import flags

from launch import command_line
from launch.command_line import say

PARTS = ("loss", "scan", "stage_one", "stage_two", "losses", "layers")

if __name__ == "__main__":
    TOPOLOGY = flags.DEFINE_string(
        "topology", "v5e:2x2", "generation and shape of the slice, or number of GPUs"
    )
    PART = flags.DEFINE_list("part", list(PARTS[:4]), f"which programs: {', '.join(PARTS)}")
    MATCHING = flags.DEFINE_string(
        "matching", "", "of the parts losses and layers, programs whose name has this in it"
    )
    BACKBONE = flags.DEFINE_string("backbone", "efficientnet_lite0", "the scanning network")
    TAP = flags.DEFINE_string("tap", "", "its tap; empty: its default")
    CROP = flags.DEFINE_list("crop", ["1024", "832"], "rows,columns of a film's crop, pixels")
    NP = flags.DEFINE_integer("np", 15, "cells of the map along each axis", lower_bound=1, upper_bound=256)
    BATCH = flags.DEFINE_integer("batch", 1, "images a step on a chip", lower_bound=1)
    SAMPLES = flags.DEFINE_integer(
        "samples", 8192, "images of the training set, scores of the loss", lower_bound=2
    )
    SPREAD = flags.DEFINE_bool("spread", False, "the steps over all chips, in place of one")
    SHARD = flags.DEFINE_integer(
        "shard", 0, "with --spread: kernels of so many numbers and more spread too; 0: none", lower_bound=0
    )
    PRECISION = flags.DEFINE_enum(
        "precision", "float32", ["float32", "bfloat16"], "of the scanning network's products"
    )
    EFFORT = flags.DEFINE_float(
        "effort", 0.0, "of a TPU's compiler for speed, -1 to 1; 0: its own", lower_bound=-1, upper_bound=1
    )
    MINUTES = flags.DEFINE_float("minutes", 60.0, "that a program may take to compile", lower_bound=0.001)


def main(arguments: list[str]) -> None:
    from mammojax.errors import UserError

    command_line.no_arguments(arguments)
    if len(CROP.value) != 2 or not all(side.isdecimal() and int(side) for side in CROP.value):
        raise UserError(
            f"--crop is {','.join(CROP.value)!r}; expected rows,columns in pixels, such as 4084,3328"
        )
    unknown = [part for part in PART.value if part not in PARTS]
    if unknown:
        raise UserError(f"--part: unknown {unknown[0]!r}; choose from {', '.join(PARTS)}")
    from mammojax.benchmarks.chips import chip_of
    from mammojax.benchmarks.compilers import find_compiler

    chip = chip_of(TOPOLOGY.value)
    find_compiler(gpu=bool(chip.gpu))

    from mammojax.benchmarks import ahead_of_time
    from mammojax.benchmarks.loss.programs import loss_table
    from mammojax.benchmarks.scan.slopes import slope_programs, slope_table
    from mammojax.benchmarks.tables import bytes_text
    from mammojax.models.scanning import load_backbone, plan

    devices = ahead_of_time.devices_of(TOPOLOGY.value)
    say(f"{TOPOLOGY.value}: {len(devices)} chips of {bytes_text(chip.memory)}")
    network = load_backbone(BACKBONE.value, tap=TAP.value or None)
    crop = (int(CROP.value[0]), int(CROP.value[1]))
    listed = ahead_of_time.programs(
        devices,
        network,
        crop=crop,
        cells=NP.value,
        batch=BATCH.value,
        samples=SAMPLES.value,
        precision=PRECISION.value,
        spread=SPREAD.value,
        shard=SHARD.value,
    )
    failed = 0
    backend = "gpu" if chip.gpu else "tpu"
    options = {"effort": EFFORT.value, "minutes": MINUTES.value}
    if "losses" in PART.value:
        for line, failure in loss_table(devices, SAMPLES.value, backend, MATCHING.value, **options):
            failed += failure
            say(line)
    if "layers" in PART.value:
        chosen = plan(crop, network.backbone, NP.value, tap=network.tap)
        layers = slope_programs(network, chosen, devices[0], batch=BATCH.value, precision=PRECISION.value)
        for line, failure in slope_table(layers, backend, matching=MATCHING.value, **options):
            failed += failure
            say(line)
    for part, (name, lower) in zip(PARTS, listed):
        if part not in PART.value:
            continue
        found = ahead_of_time.compiled(name, lower, backend, **options)
        failed += bool(found.failure)
        say("\n" + "\n  ".join(found.account(chip)))
    if failed:
        raise UserError(f"{failed} programs do not compile for {TOPOLOGY.value}; see above")


if __name__ == "__main__":
    command_line.run(main)
