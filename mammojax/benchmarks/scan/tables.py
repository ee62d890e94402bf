"""The tables of the scanning benchmark in Markdown: what must hold, programs, layers, windows, memory, accelerator."""

from mammojax.benchmarks.tables import bytes_text, markdown_table, seconds_text, versions


def share_text(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def _time(row: dict) -> str:
    return seconds_text(row["milliseconds"] / 1e3)


def _program_line(row: dict) -> list[str]:
    median = seconds_text(row["median_milliseconds"] / 1e3)
    rate = f"{row['gflop_per_s']:.4g}"
    return [row["what"], row["program"], _time(row), median, rate, share_text(row["share"]), row["error"]]


def _layer_line(row: dict) -> list[str]:
    products = row["gflop"] > 0
    return [
        row["program"],
        row["output"],
        _time(row),
        f"{row['gflop']:.3g}" if products else "",
        f"{row['gflop_per_s']:.3g}" if products else "",
        share_text(row["share"]) if products else "",
    ]


def document(
    rows: list[dict],
    bar_rows: list[tuple[str, str, str]],
    skipped: list[tuple[str, str, str]],
    *,
    command: str,
    device: str,
    repeats: int,
) -> str:
    """The Markdown of a benchmark. rows: measurements. bar_rows: (what, bar, measured). skipped: (where, program, why)."""

    def part(name):
        return [row for row in rows if row["part"] == name]

    parts = [
        "# Scanning\n",
        f"`{command}`\n\nDevice: {device}. {versions('jax', 'jaxlib', 'torch')}. float32 unless it is said; best and median "
        f"of {repeats} repeats taken in turns; a multiply-add is two operations.\n",
        "## What must hold\n",
        markdown_table(["what", "bar", "measured"], bar_rows),
    ]
    if part("program"):
        parts += [
            "## Programs\n",
            "One image with the same weights. The share is that of the best matrix product of the same turns. The "
            "difference is the largest to mammojax in the tap's map, in shares of the map's largest number.\n",
            markdown_table(
                ["image", "program", "best", "median", "GFLOP/s", "of the matrix product", "difference"],
                [_program_line(row) for row in part("program")],
            ),
        ]
    layers = part("layer")
    for what in dict.fromkeys(row["what"] for row in layers):
        parts += [
            f"## By layer: {what}\n",
            "Each layer compiled and called alone, so that their sum is not the time of the network.\n",
            markdown_table(
                ["layer", "output", "best", "GFLOP", "GFLOP/s", "of the matrix product"],
                [_layer_line(row) for row in layers if row["what"] == what],
            ),
        ]
    if part("windows"):
        lines = [[row["what"], row["program"], _time(row), row["repeats"]] for row in part("windows")]
        parts += [
            "## One graph against windows\n",
            "The same numbers: nothing is padded, and the difference is checked.\n",
            markdown_table(["crop", "program", "best", "repeats"], lines),
        ]
    if part("memory"):
        parts += [
            "## Memory\n",
            "One image, each program in a process of its own. Stated: arguments, results and temporaries of the compiled "
            "program. Peak: of the whole process, Python and the libraries included, while it ran.\n",
            markdown_table(
                ["image", "program", "stated", "peak of the process", "time"],
                [
                    [
                        row["what"],
                        row["program"],
                        bytes_text(row["stated_bytes"]),
                        bytes_text(row["peak_bytes"]),
                        _time(row),
                    ]
                    for row in part("memory")
                ],
            ),
        ]
    if part("accelerator"):
        lines = [
            [
                row["what"],
                row["program"],
                row["batch"],
                f"{row['images_per_s']:.4g}",
                share_text(row["share"]),
            ]
            for row in part("accelerator")
        ]
        parts += [
            "## Accelerator\n",
            "bfloat16 products. Operations of the scanning network's kernels, three times those of a scan in a training "
            "step; what is computed again is not counted.\n",
            markdown_table(["image", "program", "batch", "images a second", "share of peak"], lines),
        ]
    left_out = markdown_table(["where", "program", "why"], skipped) if skipped else "Nothing.\n"
    return "\n".join([*parts, "## Skipped\n", left_out])
