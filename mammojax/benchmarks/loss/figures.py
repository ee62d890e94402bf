"""The figures of the loss: time and memory against the number of scores, the cost of an epoch, and the sum over cells."""

import itertools
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mammojax.report.style import WITH_TITLES

# Okabe and Ito's colours: told apart with any colour vision, and by their markers in grey
_LOOKS = {
    "fast": ("#D55E00", "o", "-"),
    "tiled": ("#0072B2", "s", "-"),
    "materialized": ("#009E73", "^", "-"),
    "jax": ("#56B4E9", "v", "--"),
    "torch": ("#E69F00", "D", "--"),
    "rax": ("#CC79A7", "P", "--"),
    "libauc": ("#000000", "X", "--"),
    "keops": ("#8C6D1F", "<", "--"),
    "aum": ("#4B0082", "X", ":"),
    "exp_sum": ("#999999", ".", ":"),
}
NAMES = {
    "fast": "mammojax fast",
    "tiled": "mammojax tiled",
    "materialized": "mammojax materialized",
    "jax": "JAX broadcast",
    "torch": "PyTorch broadcast",
    "rax": "rax",
    "libauc": "LibAUC",
    "keops": "KeOps",
    "aum": "AUM (another loss)",
    "exp_sum": "one pass of exp and sum",
}
_BYTES = ((1e3, "1 kB"), (1e6, "1 MB"), (1e9, "1 GB"))
_SECONDS = (
    (1e-6, "1 µs"),
    (1e-4, "0.1 ms"),
    (1e-2, "10 ms"),
    (1, "1 s"),
    (60, "1 min"),
    (3600, "1 h"),
    (86400, "1 day"),
)

Curve = tuple[Sequence[float], Sequence[float]]


def fitted_slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """d log(value) / d log(size) by least squares over the last two decades of sizes; NaN with fewer than two points."""
    sizes, values = np.asarray(sizes, float), np.asarray(values, float)
    chosen = (sizes >= sizes.max(initial=0) / 100 * (1 - 1e-9)) & (values > 0)
    if chosen.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes[chosen]), np.log(values[chosen]), 1)[0])


def sweep_figure(times: Mapping[str, Curve], memory: Mapping[str, Curve], title: str) -> Figure:
    """Time and temporary memory of value and gradient against the number of scores, the slopes of time in the legend.

    times: program -> (numbers of scores, seconds). memory: program -> (numbers of scores, bytes).
    """
    with matplotlib.rc_context(WITH_TITLES):
        figure, panels = _panels(9.5, 5.4)
        handles = {}
        for axes, curves, ticks, name in zip(
            panels, (times, memory), (_SECONDS, _BYTES), ("Time of value and gradient", "Temporary memory")
        ):
            for program, (sizes, values) in curves.items():
                colour, marker, line = _LOOKS[program]
                look = {"color": colour, "marker": marker, "linestyle": line}
                (handle,) = axes.loglog(sizes, values, markersize=5, linewidth=1.6, **look)
                if axes is panels[0]:
                    handles[NAMES[program] + _slope(sizes, values, " (slope {:.2f})")] = handle
            axes.set(xlabel="Number of scores")
            axes.set_title(name)
            _named_ticks(axes, ticks)
        figure.legend(handles.values(), handles, loc="outside lower center", fontsize=8.5, ncols=3)
        figure.suptitle(title, fontsize=9, x=0.01, ha="left", color="#555555")
    return figure


def epoch_figure(times: Mapping[str, Curve], errors: Mapping[str, Curve], title: str) -> Figure:
    """Left, the time of the loss over one epoch against the size of the training set; right, the error of its gradient.

    times: "all" (eq. (3) with all scores), "fast", capacities of reservoirs as text -> (sizes, seconds). errors: the same
    -> (sizes, relative error of the gradient as a vector).
    """
    capacities = sorted((name for name in errors if name.isdigit()), key=int)
    middle = capacities[len(capacities) // 2 : len(capacities) // 2 + 1]
    shades = dict(zip(capacities, ("#56B4E9", "#0072B2", "#003A5D")))
    looks = {"all": ("#555555", "s"), "fast": ("#D55E00", "o")}
    looks |= {name: (shades.get(name, "#0072B2"), "^") for name in capacities}
    words = {
        "all": "every pair,\nbatch by batch",
        "fast": "every pair at once,\nmammojax fast",
    }
    with matplotlib.rc_context(WITH_TITLES):
        figure, (left, right) = _panels(9, 4.3)
        for name in (name for name in ("all", *middle, "fast") if name in times):
            colour, marker = looks[name]
            left.loglog(*times[name], color=colour, marker=marker, markersize=5, linewidth=2)
        for name in (name for name in (*capacities, "fast") if name in errors):
            colour, marker = looks[name]
            right.loglog(*errors[name], color=colour, marker=marker, markersize=5, linewidth=2)
        left.set_title("Time of the loss over one epoch")
        right.set_title("Relative error of its gradient")
        right.set_ylim(1e-8, 1)
        left.margins(y=0.1)
        _named_ticks(left, _SECONDS)
        for axes in (left, right):
            axes.set_xlabel("Training samples")
        sampled = "sub-sampled,\n{:,} scores a class"
        _end_labels(
            figure,
            left,
            {
                (words.get(name) or sampled.format(int(name))) + _slope(*times[name], "\nslope {:.2f}"): (
                    times[name],
                    looks[name][0],
                )
                for name in ("all", *middle, "fast")
                if name in times
            },
        )
        _end_labels(
            figure,
            right,
            {
                words.get(name)
                or (sampled if name == capacities[0] else "{:,} scores a class").format(int(name)): (
                    errors[name],
                    looks[name][0],
                )
                for name in (*capacities, "fast")
                if name in errors
            },
        )
        figure.suptitle(title, fontsize=9, x=0.01, ha="left", color="#555555")
    return figure


def cells_figure() -> Figure:
    """What a positive sees of the negatives under `fast`: near cells by polynomials, the rest by exp(x) and by lines."""
    width, stretch, shown = 0.5, 16.0, 42.0
    # of the positive's stretch, somewhere in which it lies, and of its neighbours
    edges = -6 + stretch * np.arange(-1, 3)
    x = np.linspace(-shown, shown, 2001)
    regions = (
        (-shown, edges[0], "#0072B2", "far below", "$e^x$: one running sum,\ndecaying by stretches"),
        (
            edges[0],
            edges[-1],
            "#D55E00",
            "near",
            "its stretch of 16 units and both neighbours: six moments\nof each cell, one product of matrices",
        ),
        (edges[-1], shown, "#009E73", "far above", "$\\sigma = 1$, softplus $= x$:\ncounts and distances"),
    )
    with matplotlib.rc_context(WITH_TITLES):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.grid(visible=False)
        for edge in np.arange(-shown, shown + width, width):
            axes.axvline(edge, ymax=0.66, color="#bbbbbb", linewidth=0.35, zorder=0)
        for edge in edges:
            axes.axvline(edge, ymax=0.72, color="#D55E00", linewidth=1, zorder=0)
        for low, high, colour, name, how in regions:
            axes.axvspan(low, high, color=colour, alpha=0.09, linewidth=0)
            middle = (low + high) / 2
            axes.text(middle, 1.62, name, color=colour, ha="center", weight="bold", fontsize=11)
            axes.text(middle, 1.36, how, color=colour, ha="center", fontsize=9.5)
        axes.plot(x, 1 / (1 + np.exp(-x)), color="#222222", linewidth=2)
        axes.plot(x, np.logaddexp(0, x) / 40, color="#222222", linewidth=2, linestyle="--")
        axes.text(-17, 0.09, "slope of a pair, $\\sigma(x)$", color="#222222", fontsize=9.5)
        axes.text(11, 0.12, "cost of a pair, softplus(x) / 40", color="#222222", fontsize=9.5)
        axes.plot(0, -0.06, marker="^", color="#222222", markersize=9, clip_on=False)
        axes.text(0.9, -0.1, "the positive", color="#222222", fontsize=9.5, ha="left")
        axes.set(xlim=(-shown, shown), ylim=(-0.15, 1.8), yticks=[0, 1])
        axes.set_xlabel("x: a negative score minus the positive one, in cells half a unit wide")
    return figure


def _panels(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, 2)


def _slope(sizes, values, form):
    slope = fitted_slope(sizes, values)
    return "" if np.isnan(slope) else form.format(slope)


def _end_labels(figure, axes, curves):
    """Text behind the last point of each curve, moved apart where texts would overlap.

    curves: text -> ((sizes, values), colour).
    """
    line = 11.5  # points
    scale = 72 / figure.dpi
    placed = []  # from the top: (text, colour, end, height of the middle in points, half the height of the text)
    for text, ((sizes, values), colour) in curves.items():
        end = sizes[-1], values[-1]
        placed.append(
            [text, colour, end, axes.transData.transform(end)[1] * scale, line * (text.count("\n") + 1) / 2]
        )
    placed.sort(key=lambda item: -item[3])
    for above, item in itertools.pairwise(placed):
        item[3] = min(item[3], above[3] - above[4] - item[4])
    for text, colour, end, middle, _ in placed:
        axes.annotate(
            text,
            end,
            xytext=(8, middle - axes.transData.transform(end)[1] * scale),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=8.5,
            annotation_clip=False,
        )


def _named_ticks(axes, ticks):
    low, high = axes.get_ylim()
    shown = [(value, name) for value, name in ticks if low <= value <= high]
    if len(shown) > 1:
        axes.set_yticks([value for value, _ in shown], [name for _, name in shown])
        axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
