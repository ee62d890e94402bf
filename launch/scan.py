"""Scans a prepared data set with the pretrained network into representations; once, resumable.

Prepares the data set first if that has not been done.

Example:
  python -m launch.scan --config=configs/mias.py --config.data.source=FOLDER --config.model.np=30
"""

from launch import command_line, joining
from launch.command_line import say, track

if __name__ == "__main__":
    joining.define_flags()


def main(settings, arguments: list[str]) -> None:
    from mammojax.experiment.crossval import describe
    from mammojax.experiment.inputs import network, placement, prepared, represented

    command_line.no_arguments(arguments)
    net = network(settings)
    records = prepared(settings, say=say, track=track)
    describe(settings, records, say)
    say(placement(settings))
    say(f"scanning network: {net.provenance}")
    cache = represented(settings, records, net, say=say, track=track)
    rows, columns = (max(side) for side in zip(*cache.shapes))
    say(
        f"{len(cache)} representations of up to {rows} x {columns} cells, {cache.channels} channels, {cache.copies} "
        f"copies, in {cache.folder}"
    )
    say(
        f"  kept as {cache.cache}; rounding changes a value by {cache.rounding.root_mean_square:.2g} of its channel's "
        f"deviation (root mean square), {cache.rounding.worst:.2g} at worst"
    )
    for text in cache.plans:
        say(f"  plan: {text}")


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
