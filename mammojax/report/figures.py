"""The figures of a run: ROC curves, AUC against iterations (Figure 3 of the paper), the table drawn, calibration.

Titles and colours of the arms come in by name. In grey, and with any colour vision, arms are told apart by line style and
marker, which follow from their order in `titles`, the same in every figure.
"""

import io
import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mammojax.evaluation.calibration import reliability
from mammojax.evaluation.localisation import FreeResponse
from mammojax.evaluation.predictions import LEVELS, Predictions, at_level
from mammojax.report.style import STYLE
from mammojax.report.summary import Summary
from mammojax.report.table import written
from mammojax.runs.files import writing

_STYLE = STYLE | {"svg.fonttype": "path", "text.parse_math": False}  # titles may hold any sign
_LINES = (
    "-",
    (0, (5, 2)),
    (0, (1, 1)),
    (0, (4, 1.5, 1, 1.5)),
    (0, (9, 2)),
    (0, (4, 1.5, 1, 1.5, 1, 1.5)),
    (0, (2, 1.5)),
    (0, (9, 2, 1, 2)),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_RATES = np.linspace(0, 1, 401)  # false positive rates at which the curves of repeats are averaged


def line(arm: str, titles: Mapping[str, str]) -> str | tuple:
    """The line style of an arm, by its place."""
    return _LINES[list(titles).index(arm) % len(_LINES)]


def marker(arm: str, titles: Mapping[str, str]) -> str:
    """The marker of an arm, by its place."""
    return _MARKERS[list(titles).index(arm) % len(_MARKERS)]


def roc_figure(
    arms: Mapping[str, Predictions], titles: Mapping[str, str], colours: Mapping[str, str]
) -> Figure:
    """ROC curves at the three levels: calibrated log-odds of all folds ranked together, the mean over repeats."""
    from sklearn.metrics import roc_curve

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 3.7 + 0.1 * len(arms)), layout="constrained")
        FigureCanvasAgg(figure)
        for level, axes in zip(LEVELS, figure.subplots(1, 3, sharey=True)):
            for arm, predictions in arms.items():
                scored, curves = at_level(predictions, level), []
                for repeat in np.unique(scored.repeats):
                    here = scored.repeats == repeat
                    if len(np.unique(scored.labels[here])) == 2:
                        false, true, _ = roc_curve(scored.labels[here], scored.scores[here])
                        curves.append((false, true))
                if not curves:
                    continue
                if len(curves) > 1:
                    curves = [(_RATES, np.mean([np.interp(_RATES, *curve) for curve in curves], axis=0))]
                label = titles[arm] if level == LEVELS[0] else None
                look = {"color": colours[arm], "linestyle": line(arm, titles), "marker": marker(arm, titles)}
                places = (0.03 * len(axes.lines), 0.3)  # a few markers, elsewhere for every arm
                axes.plot(*curves[0], linewidth=1.7, markersize=4, markevery=places, label=label, **look)
            axes.plot([0, 1], [0, 1], color="black", linewidth=0.6, alpha=0.5)
            axes.set(title=level.capitalize(), xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
            axes.set_xlabel("False positive rate")
        figure.axes[0].set_ylabel("True positive rate")
        if figure.axes[0].get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncols=2, fontsize=8.5, handlelength=5)
    return figure


def training_curves_figure(
    curves: Mapping[str, Mapping[object, tuple]],
    selected: Mapping[str, Mapping[object, int]],
    titles: Mapping[str, str],
    colours: Mapping[str, str],
) -> Figure:
    """AUC on held-out folds against optimiser steps: thin lines are folds, the thick one their mean (Figure 3).

    curves: arm -> cell -> (steps, AUC), a cell being a fold of a repeat. selected: arm -> cell -> the step that was chosen
    inside the training folds, marked by a dot.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for arm, cells in curves.items():
            colour = colours[arm]
            for cell, (steps, values) in cells.items():
                axes.plot(
                    steps, values, color=colour, linewidth=0.7, alpha=max(0.12, min(0.35, 1.75 / len(cells)))
                )
                chosen = selected.get(arm, {}).get(cell)
                if chosen in steps:
                    axes.plot(
                        chosen,
                        values[list(steps).index(chosen)],
                        marker(arm, titles),
                        color=colour,
                        markersize=4,
                    )
            steps, mean = _mean_curve(list(cells.values()))
            axes.plot(
                steps, mean, color=colour, linestyle=line(arm, titles), linewidth=2.4, label=titles[arm]
            )
        axes.axhline(0.5, color="black", linewidth=0.6, alpha=0.5)
        axes.set(xlabel="Optimiser steps", ylabel="AUC on the held-out fold")
        figure.legend(loc="outside upper center", ncols=2, fontsize=8.5, handlelength=4)
    return figure


def _mean_curve(folds: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """(steps, mean AUC) where all folds have one.

    Folds of different size are evaluated at different steps, hence the lines between their points.
    """
    folds = [(np.asarray(steps, float), np.asarray(values, float)) for steps, values in folds]
    start, end = max(steps[0] for steps, _ in folds), min(steps[-1] for steps, _ in folds)
    grid = np.unique(np.concatenate([steps for steps, _ in folds]))
    grid = grid[(grid >= start) & (grid <= end)]
    return grid, np.mean([np.interp(grid, steps, values) for steps, values in folds], axis=0)


def table_figure(summary: Summary, titles: Mapping[str, str], colours: Mapping[str, str]) -> Figure:
    """Every arm's AUC at the three levels with its 95% interval; small marks are folds, or the repeats' means."""
    several = summary.repeats > 1
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 0.62 * len(summary.arms) + 1.1), layout="constrained")
        FigureCanvasAgg(figure)
        for level, axes in zip(LEVELS, figure.subplots(1, 3, sharex=True, sharey=True)):
            for row, (arm, levels) in enumerate(summary.arms.items()):
                here, colour = levels[level], colours[arm]
                folds = [np.asarray(list(folds.values())) for folds in here.folds.values()]
                marks = [_mean(values) for values in folds] if several else folds[0]
                axes.plot(marks, np.full(len(marks), row + 0.24), "|", color=colour, markersize=6, alpha=0.8)
                mean = here.estimates["mean"]
                axes.plot([mean.low, mean.high], [row, row], color=colour, linewidth=2.4)
                axes.plot(mean.value, row, marker(arm, titles), color=colour, markersize=6)
                axes.text(
                    0.5, row - 0.2, written(mean), transform=axes.get_yaxis_transform(), fontsize=8, ha="center",
                    va="bottom", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.7},
                )  # fmt: skip
            axes.axvline(0.5, color="black", linewidth=0.6, alpha=0.5)
            axes.set(title=level.capitalize(), ylim=(len(summary.arms) - 0.5, -0.75))
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(axis="y", visible=False)
        names = [textwrap.fill(titles[arm], 34) for arm in summary.arms]
        figure.axes[0].set_yticks(range(len(names)), names, fontsize=9)
        marks = "means of the repeats" if several else "folds"
        figure.supxlabel(f"AUC, mean over folds (bars: 95% interval; small marks: {marks})", fontsize=10)
    return figure


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return values.mean() if len(values) else np.nan


def reliability_figure(
    arms: Mapping[str, Predictions], titles: Mapping[str, str], colours: Mapping[str, str]
) -> Figure:
    """Calibrated probability against the share of positives found, out of fold, in groups of equal size.

    One panel an arm; bars are 95% intervals, the number in a panel is that of its images. Of several repeats the first is
    drawn: they hold the same images, which must not be counted twice.
    """
    columns = min(3, len(arms))
    rows = -(-len(arms) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.2 * columns, 3.2 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes in panels[len(arms) :]:
            axes.remove()
        for axes, (arm, predictions) in zip(panels, arms.items()):
            first = predictions.of_repeat(predictions.repeats[0])
            found = reliability(predictions.calibrated[first], predictions.labels[first], groups=6)
            axes.plot([0, 1], [0, 1], color="black", linewidth=0.6, alpha=0.5)
            axes.errorbar(
                found.predicted,
                found.observed,
                np.maximum([found.observed - found.low, found.high - found.observed], 0),
                color=colours[arm],
                linestyle=line(arm, titles),
                linewidth=1.4,
                elinewidth=0.9,
                marker=marker(arm, titles),
                markersize=4,
            )
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            axes.set_title(textwrap.fill(titles[arm], 42), fontsize=9)
            axes.text(0.97, 0.03, f"{int(found.images.sum())} images", ha="right", fontsize=8, alpha=0.7)
        figure.supxlabel("Calibrated probability", fontsize=10)
        figure.supylabel("Share of positives, with its 95% interval", fontsize=10)
    return figure


def free_response_figure(response: FreeResponse, *, title: str) -> Figure:
    """The share of lesions found against false marks an image, with 95% intervals at the stated numbers. title: the arm's."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 4.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.step(*response.curve, where="post", color="#0072b2", linewidth=1.7)
        rates = np.asarray(list(response.sensitivity))
        value, low, high = np.asarray([[e.value, e.low, e.high] for e in response.sensitivity.values()]).T
        bars = np.nan_to_num([value - low, high - value])
        axes.errorbar(rates, value, bars, fmt="o", color="black", markersize=4, elinewidth=1.0)
        axes.set(xlim=(0, 1.15 * rates.max()), ylim=(0, 1.01), title=title)
        axes.set(xlabel="False marks an image", ylabel="Lesions found, share")
    return figure


def score_figure(predictions: Predictions, *, title: str) -> Figure:
    """Distribution of the calibrated log-odds of one arm by class, out of fold, all repeats. title: the arm's."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        values, repeats = predictions.calibrated, len(np.unique(predictions.repeats))
        edges = np.linspace(values.min(), values.max() + 1e-9, 30)
        classes = ((0, "#56B4E9", None, "negative"), (1, "#A03C00", "///", "positive"))
        handles = []
        for label, colour, hatch, name in classes:
            chosen = values[predictions.labels == label]
            if not len(chosen):
                continue
            look = {"facecolor": (colour, 0.35), "edgecolor": colour, "hatch": hatch}
            axes.hist(chosen, edges, density=True, histtype="stepfilled", **look)
            handles.append(Patch(label=f"{name} ({len(chosen) // repeats} images)", **look))
        axes.set(xlabel=f"Calibrated log-odds, {title}", ylabel="Density")
        axes.legend(handles=handles, fontsize=8.5)
    return figure


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bits for the same data."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path) -> bytes:
    """Writes path.png (160 dots an inch) and path.svg, whole or not at all; what the latter holds."""
    with writing(Path(path).with_suffix(".png")) as file:
        figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
    drawn = svg(figure)
    with writing(Path(path).with_suffix(".svg")) as file:
        file.write(drawn)
    return drawn


def save_palette_png(figure: Figure, path: Path, *, colours: int = 96) -> None:
    """Writes path.png (160 dots an inch) in so many colours, a third of the size with a photograph in it; whole or not
    at all."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    picture = (
        Image.open(buffer)
        .convert("RGB")
        .quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    with writing(Path(path).with_suffix(".png")) as file:
        picture.save(file, format="png", optimize=True)
