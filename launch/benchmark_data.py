"""The breast box beside three published recipes, what preparation costs beside decoding and writing, and how a set grows.

Tables are printed in Markdown. --mias adds the films of mini-MIAS; --part runs one part alone.

Example:
  python -m launch.benchmark_data --part=boxes --mias=FOLDER/all-mias.tar.gz
  python -m launch.benchmark_data --part=preparation
  python -m launch.benchmark_data --part=records --records=5000,20000
"""

from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say

if __name__ == "__main__":
    PART = flags.DEFINE_enum("part", "all", ["all", "boxes", "preparation", "records"], "what is measured")
    PATIENTS = flags.DEFINE_integer("patients", 25, "synthetic patients, four films each", lower_bound=1)
    HEIGHT = flags.DEFINE_integer("height", 1024, "rows of a synthetic film", lower_bound=128)
    MIAS = flags.DEFINE_string("mias", "", "all-mias.tar.gz; empty: without it")
    FILES = flags.DEFINE_integer("files", 24, "files of the set that is prepared", lower_bound=3)
    SIZE = flags.DEFINE_list("size", "4084,3328", "their rows,columns")
    RECORDS = flags.DEFINE_list("records", "2000,8000", "numbers of small pictures that a set is made of")
    SEED = flags.DEFINE_integer("seed", 0, "of the synthetic films")


def boxes() -> None:
    from mammojax.benchmarks.data.boxes import compare, mias, phantoms
    from mammojax.benchmarks.tables import markdown_table
    from mammojax.settings import Settings

    sets = {"phantoms": phantoms(PATIENTS.value, seed=SEED.value, height=HEIGHT.value)}
    if MIAS.value:
        sets["mini-MIAS"] = mias(Path(MIAS.value))
    head = [
        "films",
        "recipe",
        "IoU of the box, mean",
        "least",
        "lesions outside",
        "cut",
        "share of the frame kept",
    ]
    rows = []
    for name, films in sets.items():
        for recipe, m in compare(films, margin=Settings().data.margin).items():
            overlap = [f"{m.overlap:.3f}", f"{m.least:.3f}"] if m.overlap == m.overlap else ["", ""]
            rows.append(
                [f"{m.films} {name}", recipe, *overlap, f"{m.outside} of {m.lesions}", m.cut, f"{m.kept:.2f}"]
            )
    say(markdown_table(head, rows))


def preparation() -> None:
    from mammojax.benchmarks.data.preparation import LEAST, MOST, STEPS, cost
    from mammojax.benchmarks.tables import markdown_table
    from mammojax.benchmarks.timing import device_name
    from mammojax.errors import UserError

    if len(SIZE.value) != 2 or not all(side.strip().isdigit() and int(side) >= 64 for side in SIZE.value):
        raise UserError(f"--size is {','.join(SIZE.value)!r}; expected rows,columns, such as 4084,3328")
    height, width = map(int, SIZE.value)
    found = cost(FILES.value, height=height, width=width, workers=(1, 2), seed=SEED.value, say=say)
    rows = [[form, *(f"{steps[step]:.3f}" for step in STEPS)] for form, steps in found.steps.items()]
    say(markdown_table(["files", *(f"{step}, s" for step in STEPS)], rows))
    one, two = found.sets[1], found.sets[2]
    say(
        f"{found.files} files: {one:.1f} s with one worker, {one / found.needed:.2f} times decoding and writing (at most "
        f"{MOST}); {two:.1f} s with two, {one / two:.2f} times the files of one (at least {LEAST}); {device_name()}"
    )


def records() -> None:
    from mammojax.benchmarks.data.records import STEPS, grown
    from mammojax.benchmarks.tables import markdown_table
    from mammojax.errors import UserError

    if not RECORDS.value or not all(n.strip().isdigit() and int(n) >= 60 for n in RECORDS.value):
        raise UserError(
            f"--records is {','.join(RECORDS.value)!r}; expected numbers of 60 and more, such as 2000,8000"
        )
    found = grown([int(n) for n in RECORDS.value], seed=SEED.value)
    rows = [[g.records, *(f"{g.seconds[s]:.2f}" for s in STEPS), f"{g.peak / 1e6:.0f}"] for g in found]
    say(markdown_table(["records", *(f"{step}, s" for step in STEPS), "peak, MB"], rows))


def main(arguments: list[str]) -> None:
    command_line.no_arguments(arguments)
    if PART.value in ("all", "boxes"):
        boxes()
    if PART.value in ("all", "preparation"):
        preparation()
    if PART.value in ("all", "records"):
        records()


if __name__ == "__main__":
    command_line.run(main)
