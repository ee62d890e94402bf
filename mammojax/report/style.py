"""How all figures of the program look: one dictionary of matplotlib's settings."""

STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "mammojax",  # the same figure is the same bytes
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}
WITH_TITLES = STYLE | {
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
}  # a title each
