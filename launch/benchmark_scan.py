"""Measures the scanning networks: time against PyTorch and plain JAX, by layer, against windows, and their memory.

Programs are checked against each other before they are timed. Writes into --out: measurements.csv (a row a measurement)
and benchmark.md (what must hold, and the tables). Parts: vgg_m and efficientnet_lite0 (one image, by program and by
layer), windows (one graph against window by window), memory (a scan and a training step of a whole image; minutes),
accelerator (images a second; not on a CPU). What is not installed or not possible is skipped, and said so at the end.

Examples:
  python -m launch.benchmark_scan --out=benchmark
  python -m launch.benchmark_scan --out=benchmark --part=vgg_m --peers=torch
"""

import csv
import os
import shlex
import sys
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # peers need memory of the same GPU

if __name__ == "__main__":
    OUT = flags.DEFINE_string("out", "benchmark", "folder of the results")
    PART = flags.DEFINE_list(
        "part", "vgg_m,efficientnet_lite0,windows,memory,accelerator", "what is measured"
    )
    PEERS = flags.DEFINE_list("peers", "torch,jax", "other programs (jax: its plain forms); empty: none")
    REPEATS = flags.DEFINE_integer("repeats", 5, "so many calls of each program, in turns", lower_bound=1)
    IMAGE = flags.DEFINE_string("image", "1335x1335", "pixels of the image of part vgg_m, rows x columns")
    STRIDES = flags.DEFINE_list("strides", "4,2", "of the first layer in part vgg_m, 1 to 7")
    CROP = flags.DEFINE_string("crop", "960x512", "pixels of the image of part efficientnet_lite0")
    WINDOWS_CROP = flags.DEFINE_string("windows_crop", "1551x1551", "pixels of the crop of part windows")
    CELLS = flags.DEFINE_integer("cells", 15, "np of part windows", lower_bound=1)
    WHOLE = flags.DEFINE_string("whole", "4084x3328", "pixels of the image of parts memory and accelerator")
    WHOLE_CELLS = flags.DEFINE_list(
        "whole_cells", "vgg_m:64,efficientnet_lite0:15", "np with which each network reads the whole image"
    )

PARTS = ("vgg_m", "efficientnet_lite0", "windows", "memory", "accelerator")


def shape_of(text: str, flag: str) -> tuple[int, int]:
    """(rows, columns) of a flag such as 960x512; UserError for anything else."""
    from mammojax.errors import UserError

    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and min(int(rows), int(columns)) >= 1):
        raise UserError(f"--{flag}={text}: expected rows x columns in pixels, such as 960x512")
    return int(rows), int(columns)


def whole_cells(values: list[str]) -> dict[str, int]:
    """backbone -> np of --whole_cells; UserError for an unknown backbone or no number."""
    from mammojax.errors import UserError

    found = {}
    for value in values:
        name, _, cells = value.partition(":")
        if name not in ("vgg_m", "efficientnet_lite0") or not cells.isdecimal() or int(cells) < 1:
            raise UserError(
                f"--whole_cells={value}: expected vgg_m:NP or efficientnet_lite0:NP, such as vgg_m:64"
            )
        found[name] = int(cells)
    return found


def check_vgg_m(shape: tuple[int, int], strides: list[str]) -> list[int]:
    """The strides as numbers; UserError for others than 1 to 7 and for an image too small for one cell."""
    from mammojax.errors import UserError
    from mammojax.models.backbones.contract import output_side
    from mammojax.models.backbones.vgg_m import BACKBONE

    kernel = BACKBONE.taps[0].layers[0].kernel
    if not strides or not all(s.isdecimal() and 1 <= int(s) <= kernel for s in strides):
        raise UserError(f"--strides={','.join(strides)}: expected numbers from 1 to {kernel}")
    for stride in map(int, strides):
        if min(output_side(BACKBONE.taps[0].layers, side, stride) for side in shape) < 1:
            raise UserError(
                f"--image={shape[0]}x{shape[1]}: too small for one cell at stride {stride}; take at least "
                f"{7 + 108 * stride} pixels"
            )
    return [int(s) for s in strides]


def main(arguments: list[str]) -> None:
    command_line.no_arguments(arguments)

    from mammojax.errors import UserError
    from mammojax.runs.files import check_writable, writing

    image, crop = shape_of(IMAGE.value, "image"), shape_of(CROP.value, "crop")
    windows_crop, whole = shape_of(WINDOWS_CROP.value, "windows_crop"), shape_of(WHOLE.value, "whole")
    cells = whole_cells(WHOLE_CELLS.value)
    for flag, given, known in (("part", PART.value, PARTS), ("peers", PEERS.value, ("torch", "jax"))):
        for name in given:
            if name not in known:
                raise UserError(f"--{flag}: unknown {name!r}; choose from {', '.join(known)}")
    strides = check_vgg_m(image, STRIDES.value)

    from mammojax.benchmarks.scan import parts as scan_parts
    from mammojax.benchmarks.scan.tables import document
    from mammojax.benchmarks.timing import device_name

    out = Path(OUT.value)
    check_writable(out)
    measured = scan_parts.Measurements(REPEATS.value, device_name(), say)
    say(f"device: {measured.device}")
    parts = {
        "vgg_m": lambda: scan_parts.vgg_m(measured, image, strides, PEERS.value),
        "efficientnet_lite0": lambda: scan_parts.efficientnet_lite0(measured, crop, PEERS.value),
        "windows": lambda: scan_parts.windows(measured, windows_crop, CELLS.value),
        "memory": lambda: scan_parts.memory(measured, whole, cells),
        "accelerator": lambda: scan_parts.accelerator(measured, whole, cells),
    }
    for part in PARTS:
        if part in PART.value:
            parts[part]()
    with writing(out / "measurements.csv", "w") as file:
        writer = csv.DictWriter(file, scan_parts.COLUMNS)
        writer.writeheader()
        writer.writerows(measured.rows)
    text = document(
        measured.rows,
        measured.bars,
        measured.skipped,
        command=shlex.join(["python", "-m", "launch.benchmark_scan", *sys.argv[1:]]),
        device=measured.device,
        repeats=measured.repeats,
    )
    with writing(out / "benchmark.md", "w") as file:
        file.write(text)
    say("\n" + text[text.index("## What must hold") :])
    for where, program, reason in measured.skipped:
        say(f"skipped: {program}, {where}: {reason}")
    say(f"results: {out}")


if __name__ == "__main__":
    command_line.run(main)
