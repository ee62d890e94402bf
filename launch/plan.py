"""Shows how a crop is read by a scanning network: its plan, every layer's size, and two pictures. Needs no weights.

Give the size of a crop, or a mammogram, whose breast is found and cropped as in preparation. With --out the merged graph
of both networks is drawn (graph.png) and, for a mammogram, the windows that the cells see (windows.png).

Example:
  python -m launch.plan --backbone=vgg_m --np=15 --crop=4084,3328
  python -m launch.plan --backbone=vgg_m --np=15 --image=FILE --out=FOLDER
"""

from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say

if __name__ == "__main__":
    BACKBONE = flags.DEFINE_string(
        "backbone", "efficientnet_lite0", "the network: vgg_m, vgg_16 or efficientnet_lite0"
    )
    TAP = flags.DEFINE_string("tap", "", "the layer that representations are taken from; empty: the default")
    CELLS = flags.DEFINE_integer("np", 15, "cells a side of the representation")
    CROP = flags.DEFINE_list("crop", "", "rows,columns of a crop in pixels")
    IMAGE = flags.DEFINE_string("image", "", "a mammogram, DICOM, PNG, TIFF or PGM, instead of --crop")
    PADDING = flags.DEFINE_enum("padding", "own", ["own", "valid"], "of the layers: as trained, or none")
    MAX_SIDE = flags.DEFINE_integer("max_side", 0, "crops with a longer side are reduced to it; 0: never")
    WEIGHTS = flags.DEFINE_string("weights", "", "check that this file fits the network; sizes need none")
    OUT = flags.DEFINE_string("out", "", "folder for the pictures; empty: none")


def crop_shape(values: list[str]) -> tuple[int, int]:
    from mammojax.errors import UserError

    if len(values) != 2 or not all(v.strip().isdigit() and int(v) > 0 for v in values):
        raise UserError(f"--crop is {','.join(values)!r}; expected rows,columns in pixels, such as 4084,3328")
    return int(values[0]), int(values[1])


def read(file: Path):
    """(uint16[h, w], mm a pixel or None): the breast's crop."""
    from mammojax.errors import UserError

    if not file.is_file():
        raise UserError(f"--image={file} is no file; give a mammogram")
    from mammojax.images.reading.crops import read_crops
    from mammojax.settings import Settings

    data = Settings().data
    (found,) = read_crops([file], margin=data.margin, for_processing=data.for_processing)
    if isinstance(found, str):
        raise UserError(f"--image={file} cannot be used: {found}")
    mammogram, crop = found
    for warning in (*mammogram.warnings, *crop.warnings):
        say(f"note: {warning}")
    return crop.image, mammogram.spacing


def main(arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.models import plans

    command_line.no_arguments(arguments)
    if bool(CROP.value) == bool(IMAGE.value):
        raise UserError("give either --crop=ROWS,COLUMNS or --image=FILE")
    module = plans.backbone_module(BACKBONE.value)
    known = [tap.name for tap in module.BACKBONE.taps]
    if TAP.value and TAP.value not in known:
        raise UserError(f"unknown tap {TAP.value!r} of {BACKBONE.value}; known are {', '.join(known)}")
    if MAX_SIDE.value < 0:
        raise UserError(f"--max_side is {MAX_SIDE.value}; expected pixels, or 0 for no reduction")
    image, spacing = read(Path(IMAGE.value)) if IMAGE.value else (None, None)
    shape = crop_shape(CROP.value) if image is None else image.shape
    options = {"tap": TAP.value or None, "max_side": MAX_SIDE.value or None, "padding": PADDING.value}
    chosen = plans.plan(shape, module.BACKBONE, CELLS.value, **options)
    from mammojax.inspect import layer_sizes  # starts JAX: after all that can be wrong

    variables = None
    if WEIGHTS.value:
        variables, provenance, _ = module.load(WEIGHTS.value, 0)
        say(f"weights: {provenance}")
    scanning = layer_sizes.scanning_sizes(chosen, variables)
    classifier = layer_sizes.classifier_sizes(chosen, scanning[-1].channels)
    say(chosen.describe())
    say(chosen.account(spacing))
    needed = len(plans.programs(module.BACKBONE, CELLS.value, largest=shape, **options))
    say(f"crops up to this size need {needed} compiled program{'s' * (needed != 1)}")
    for name, layers in (("scanning network", scanning), ("classifier", classifier)):
        say(f"\n{name}, {sum(layer.parameters for layer in layers):,} parameters")
        for line in layer_sizes.table(layers):
            say("  " + line)
    say("  kernel to output: rows x columns; one cell sees so many pixels of the crop")
    if OUT.value:
        draw(chosen, scanning, classifier, image, spacing)


def draw(chosen, scanning, classifier, image, spacing) -> None:
    from mammojax.inspect.graph_figure import graph_figure
    from mammojax.inspect.windows_figure import shown, windows_figure
    from mammojax.report.figures import save_palette_png

    folder = Path(OUT.value)
    picture = None if image is None else shown(image, 300)
    save_palette_png(graph_figure(chosen, scanning, classifier, picture), folder / "graph.png")
    say(f"the merged graph: {folder / 'graph.png'}")
    if image is not None:
        save_palette_png(windows_figure(image, chosen, spacing), folder / "windows.png")
        say(f"the windows: {folder / 'windows.png'}")


if __name__ == "__main__":
    command_line.run(main)
