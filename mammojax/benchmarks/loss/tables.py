"""The tables of the loss benchmark in Markdown: what must hold, the sweep, an epoch, and what was skipped."""

from mammojax.benchmarks.loss.figures import fitted_slope
from mammojax.benchmarks.tables import bytes_text, markdown_table, seconds_text, versions
from mammojax.losses import choose_implementation


def _by_size(rows: list[dict], show) -> str:
    """A table of programs by numbers of scores."""
    sizes, programs = (list(dict.fromkeys(row[key] for row in rows)) for key in ("scores", "program"))
    found = {(row["program"], row["scores"]): show(row) for row in rows}
    return markdown_table(
        ["program", *(f"{size:,}" for size in sizes)],
        [[name, *(found.get((name, size), "skipped") for size in sizes)] for name in programs],
    )


def document(
    rows: list[dict],
    epoch_rows: list[dict],
    bar_rows: list[tuple[str, str, str]],
    crossover_rows: list[tuple[str, str, str]],
    skipped: list[tuple[str, str, str]],
    *,
    command: str,
    device: str,
    surrogate: str,
    repeats: int,
) -> str:
    """The Markdown of a benchmark.

    rows: measurements, those of a sweep with their positive `rate`. epoch_rows: way, samples, seconds, error. bar_rows:
    (what, bar, measured). crossover_rows: (surrogate, scores, choice). skipped: (where, program, why).
    """
    sizes = sorted({row["scores"] for row in rows})
    auto = ", ".join(f"{choose_implementation(size, surrogate)[0]} at {size:,}" for size in sizes)
    parts = [
        f"# Pairwise AUC loss, {surrogate}\n",
        f"`{command}`\n\nDevice: {device}. {versions('jax', 'torch', 'rax', 'libauc', 'pykeops')}. Value and gradient of the mean over all pairs, "
        f"float32; best of up to {repeats} repeats taken in turns. `auto` takes {auto}.\n",
    ]
    if bar_rows:
        parts += ["## What must hold\n", markdown_table(["what", "bar", "measured"], bar_rows)]
    swept = [row for row in rows if row["part"] == "sweep"]
    for rate in dict.fromkeys(row["rate"] for row in swept):
        rows = [row for row in swept if row["rate"] == rate]
        own = [row for row in rows if row["program"] != "exp_sum"]
        parts += [
            f"## {100 * rate:g}% positives\n\nTime:\n",
            _by_size(rows, lambda row: seconds_text(row["milliseconds"] / 1e3)),
            "Relative error against float64, of the loss / of the worst gradient element:\n",
            _by_size(own, lambda row: f"{row['loss_error']} / {row['gradient_error']}"),
            "Temporary memory (JAX: stated by the compiler; others: growth of the process's peak, n/a where unknown):\n",
            _by_size(own, lambda row: bytes_text(row["temporary_bytes"])),
        ]
    if epoch_rows:
        slopes = []
        for way in dict.fromkeys(row["way"] for row in epoch_rows):
            chosen = [row for row in epoch_rows if row["way"] == way]
            slopes.append(
                f"{way} {fitted_slope([r['samples'] for r in chosen], [r['seconds'] for r in chosen]):.2f}"
            )
        parts += [
            "## An epoch of the loss\n",
            "all: eq. (3), batches of 32 against the stored scores of the whole training set; a number: against reservoirs "
            "of so many scores a class; both the time of a step (loss, gradient, update of the buffers) times the steps. "
            "tiled, fast: all pairs at once. The error is that of the whole gradient, ||g - g64|| / ||g64||; scores do not "
            f"age here. Slopes over the last two decades: {', '.join(slopes)}.\n",
            markdown_table(
                ["samples", "way", "time of the epoch", "relative error of the gradient"],
                [
                    [f"{r['samples']:,}", r["way"], seconds_text(r["seconds"]), f"{r['error']:.2g}"]
                    for r in epoch_rows
                ],
            ),
        ]
    if crossover_rows:
        parts += [
            "## Where `fast` overtakes `tiled`\n\n10% positives:\n",
            markdown_table(["surrogate", "from so many scores on", "`auto` takes"], crossover_rows),
        ]
    left_out = markdown_table(["where", "program", "why"], skipped) if skipped else "Nothing.\n"
    return "\n".join([*parts, "## Skipped\n", left_out])
