"""The figures of a run: ROC curves, AUC against iterations (Figure 3 of the paper), the table drawn, calibration."""

import io
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mammojax.evaluation.calibration import reliability
from mammojax.evaluation.statistics import Predictions, Summary, arm_name, roc, written
from mammojax.runs.files import writing

# Okabe and Ito's colours: told apart with any colour vision, and in grey by their line styles
_STYLES = {
    "resize224_svm": ("#999999", (0, (1, 1))),
    "bce": ("#0072B2", (0, (5, 2))),
    "weighted_bce": ("#009E73", (0, (3, 1, 1, 1))),
    "auc": ("#D55E00", "-"),
    "bce_finetuned": ("#56B4E9", (0, (5, 2))),
    "weighted_bce_finetuned": ("#CC79A7", (0, (3, 1, 1, 1))),
    "auc_finetuned": ("#E69F00", "-"),
}
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "mammojax",
    "svg.fonttype": "path",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


def style(arm: str) -> tuple:
    """(colour, line style) of an arm, the same in every figure."""
    return _STYLES.get(arm, ("black", "-"))


def _axes(width: float, height: float):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def roc_figure(arms: Mapping[str, Predictions], summary: Summary) -> Figure:
    """ROC curves of the pooled out-of-fold predictions (calibrated log-odds), the pooled AUC in the legend."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(5.6, 6.4)
        for arm, predictions in arms.items():
            fpr, tpr, _ = roc(predictions.calibrated, predictions.labels)
            colour, line = style(arm)
            label = f"{arm_name(arm)}, {written(summary.arms[arm].pooled)}"
            axes.plot(fpr, tpr, color=colour, linestyle=line, linewidth=1.8, label=label)
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.6, alpha=0.5)
        axes.set(
            xlabel="False positive rate",
            ylabel="True positive rate",
            xlim=(0, 1),
            ylim=(0, 1.01),
            aspect="equal",
        )
        title = "Pooled AUC (95% interval)"
        figure.legend(loc="outside lower center", title=title, fontsize=8.5, title_fontsize=8.5)
    return figure


def training_curves_figure(
    curves: Mapping[str, Mapping[int, tuple]], selected: Mapping[str, Mapping[int, int]]
) -> Figure:
    """AUC on held-out folds against optimiser steps: thin lines are folds, the thick one their mean (Figure 3).

    curves: arm -> fold -> (steps, AUC). selected: arm -> fold -> the step that was chosen inside the training
    folds, marked by a dot.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(7.2, 4.4)
        for arm, folds in curves.items():
            colour, line = style(arm)
            for fold, (steps, values) in folds.items():
                axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.35)
                chosen = selected.get(arm, {}).get(fold)
                if chosen in steps:
                    axes.plot(chosen, values[list(steps).index(chosen)], "o", color=colour, markersize=4)
            steps, mean = _mean_curve(list(folds.values()))
            axes.plot(steps, mean, color=colour, linestyle=line, linewidth=2.4, label=arm_name(arm))
        axes.axhline(0.5, color="black", linewidth=0.6, alpha=0.5)
        axes.set(xlabel="Optimiser steps", ylabel="AUC on the held-out fold")
        figure.legend(loc="outside upper center", ncols=2, fontsize=8.5)
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


def table_figure(summary: Summary) -> Figure:
    """Every arm's AUC with its 95% interval, folds as small marks."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(7.2, 0.62 * len(summary.arms) + 1.0)
        for row, (arm, result) in enumerate(summary.arms.items()):
            colour, _ = style(arm)
            values = [v for v in result.folds.values() if not np.isnan(v)]
            axes.plot(values, np.full(len(values), row + 0.2), "|", color=colour, markersize=7, alpha=0.7)
            axes.plot([result.mean.low, result.mean.high], [row, row], color=colour, linewidth=2.4)
            axes.plot(result.mean.value, row, "o", color=colour, markersize=7)
            axes.annotate(
                written(result.mean),
                (1.02, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8.5,
                annotation_clip=False,
            )
        axes.axvline(0.5, color="black", linewidth=0.6, alpha=0.5)
        axes.set_yticks(range(len(summary.arms)), [arm_name(arm) for arm in summary.arms])
        axes.set(
            xlabel="AUC, mean over folds (bars: 95% interval; marks: folds)",
            ylim=(len(summary.arms) - 0.4, -0.6),
        )
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="y", visible=False)
    return figure


def reliability_figure(arms: Mapping[str, Predictions]) -> Figure:
    """Calibrated probability against the share of positives found, out of fold, in groups of equal size.

    One panel an arm; bars are 95% intervals, the number in a panel is that of its images.
    """
    columns = min(2, len(arms))
    rows = -(-len(arms) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.6 * columns, 3.5 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes in panels[len(arms) :]:
            axes.remove()
        for axes, (arm, predictions) in zip(panels, arms.items()):
            found = reliability(predictions.calibrated, predictions.labels, groups=6)
            colour, _ = style(arm)
            bars = np.maximum([found.observed - found.low, found.high - found.observed], 0)
            axes.plot([0, 1], [0, 1], color="black", linewidth=0.6, alpha=0.5)
            axes.errorbar(
                found.predicted,
                found.observed,
                bars,
                color=colour,
                linewidth=1.4,
                elinewidth=0.9,
                marker="o",
                markersize=4,
            )
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            axes.set_title(arm_name(arm), fontsize=9)
            axes.text(0.97, 0.03, f"{len(predictions)} images", ha="right", fontsize=8, alpha=0.7)
        figure.supxlabel("Calibrated probability", fontsize=10)
        figure.supylabel("Share of positives, with its 95% interval", fontsize=10)
    return figure


def score_figure(arm: str, predictions: Predictions) -> Figure:
    """Distribution of the calibrated log-odds of one arm by class, out of fold."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(7.2, 3.2)
        values = predictions.calibrated
        edges = np.linspace(values.min(), values.max() + 1e-9, 30)
        for label, colour, name in ((0, "#56B4E9", "negative"), (1, "#D55E00", "positive")):
            chosen = values[predictions.labels == label]
            axes.hist(
                chosen, edges, density=True, color=colour, alpha=0.55, label=f"{name} ({len(chosen)} images)"
            )
        axes.set(xlabel=f"Calibrated log-odds, {arm_name(arm)}", ylabel="Density")
        axes.legend(fontsize=8.5)
    return figure


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bits for the same data."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Writes path.png (160 dots an inch) and path.svg, whole or not at all."""
    with writing(Path(path).with_suffix(".png")) as file:
        figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
    with writing(Path(path).with_suffix(".svg")) as file:
        file.write(svg(figure))


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
