"""One figure: held-out AUC against the positives that are left, what each loss adds to the logistic one, and what
sub-sampling takes from the AUC loss."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mammojax.benchmarks.imbalance.contenders import CONTENDERS
from mammojax.benchmarks.imbalance.summary import Row
from mammojax.report.style import WITH_TITLES

_STYLE = WITH_TITLES | {"font.size": 9, "axes.titlesize": 9.5}
_MARKERS = "os^DvPX<>*"
PANELS = (  # title, the loss that differences are taken to
    ("Held-out AUC", None),
    ("Difference to the logistic loss", "logistic"),
    ("Sub-sampled pairs: difference to all pairs", "auc"),
)


def imbalance_figure(rows: Mapping[str, Sequence[Row]], ticks: Sequence[str], title: str) -> Figure:
    """rows: by loss, one a share. ticks: the shares in words."""
    with matplotlib.rc_context(_STYLE):
        panels = [(name, other) for name, other in PANELS if any(shown(loss, other, rows) for loss in rows)]
        figure = Figure(figsize=(1 + 3.4 * len(panels), 4.3), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (name, other) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
            axes.set_title(name)
            axes.set_xticks(range(len(ticks)), ticks)
            axes.set_xlabel("Positives left in a training set")
            if other:
                axes.axhline(0, color="black", linewidth=0.8)
            drawn = [loss for loss in rows if shown(loss, other, rows)]
            for k, loss in enumerate(drawn):
                look = {
                    "color": CONTENDERS[loss].colour,
                    "marker": _MARKERS[list(rows).index(loss) % len(_MARKERS)],
                    "label": CONTENDERS[loss].title,
                    "markersize": 4.5,
                    "linewidth": 1.3,
                }
                found = [r.differences[other]["auc"] if other else r.estimates["auc"] for r in rows[loss]]
                beside = np.arange(len(found)) + 0.09 * (k - (len(drawn) - 1) / 2) * bool(other)
                values = np.asarray([e.value for e in found])
                if other:
                    ends = np.asarray([(e.value - e.low, e.high - e.value) for e in found]).T
                    axes.errorbar(beside, values, yerr=np.nan_to_num(ends), elinewidth=0.9, **look)
                else:
                    axes.plot(beside, values, **look)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8.5)
        figure.suptitle(title, fontsize=8.5, x=0.01, ha="left", color="#555555")
    return figure


def shown(loss: str, other: str | None, rows: Mapping[str, Sequence[Row]]) -> bool:
    """Whether a panel or table of differences to `other` (None: of no differences) shows a loss: those to all pairs are
    of sub-sampled pairs alone."""
    if other is None:
        return True
    return other in rows[loss][0].differences and (other != "auc" or loss.startswith("pairs_"))
