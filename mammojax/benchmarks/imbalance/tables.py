"""The document of the benchmark, in Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mammojax.benchmarks.imbalance.contenders import CONTENDERS
from mammojax.benchmarks.imbalance.figures import shown
from mammojax.benchmarks.imbalance.study import Design
from mammojax.benchmarks.imbalance.summary import Row
from mammojax.benchmarks.tables import markdown_table, seconds_text
from mammojax.evaluation.bootstrap import Estimate

WORDS = {"auc": "AUC", "sensitivity_at_90": "Sensitivity at 90% specificity"}


def share_text(share: float) -> str:
    """1/20 for 0.05."""
    return f"1/{1 / share:.3g}"


def _estimate(e: Estimate) -> str:
    return f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})"


def _difference(e: Estimate) -> str:
    return f"{e.value:+.3f} ({e.low:+.3f} to {e.high:+.3f})"


def choices(design: Design, chosen: Mapping[str, Sequence[np.ndarray]]) -> list[list[str]]:
    """Rows of loss, share, "rate / decay" with the folds that chose it, and the folds whose decay lies at an end of the grid:
    with many of them the loss may be better than it looks. chosen: loss -> int[shares, 2] of each fold."""
    ends = (0, len(design.decays) - 1)
    rows = []
    for name, folds in chosen.items():
        for k, share in enumerate(design.shares):
            tally = Counter(f"{design.rates[one[k][0]]:g} / {design.decays[one[k][1]]:g}" for one in folds)
            picked = ", ".join(f"{what} ({n})" for what, n in tally.most_common())
            edge = sum(int(one[k][1]) in ends for one in folds)
            rows.append([CONTENDERS[name].title, share_text(share), picked, edge])
    return rows


def document(
    rows: Mapping[str, Sequence[Row]],
    design: Design,
    *,
    left: Sequence[str],
    chosen: Mapping[str, Sequence[np.ndarray]],
    inner: Mapping[str, Sequence[float]],
    seconds: Mapping[str, float],
    notes: Sequence[str],
    command: str,
) -> str:
    """The whole document. left: positives of the training sets at every share, in words. inner: mean inner AUC of what was
    chosen, a share. seconds: to train a network. notes: what the reader has to know of data and head."""
    head = ["Positives left", *(CONTENDERS[name].title for name in rows)]
    left_of = [f"{share_text(share)}: {n}" for share, n in zip(design.shares, left)]
    text = ["# Losses under imbalance\n", *(f"{note}\n" for note in notes)]
    for m, word in WORDS.items():
        text.append(f"## {word}\n")
        table = [
            [left_of[k], *(_estimate(rows[name][k].estimates[m]) for name in rows)]
            for k in range(len(left_of))
        ]
        text.append(markdown_table(head, table))
    for other in ("logistic", "auc"):
        here = [name for name in rows if shown(name, other, rows)]
        for m, word in WORDS.items():
            if not here:
                continue
            text.append(f"## {word}: difference to {CONTENDERS[other].title}, paired\n")
            table = [
                [left_of[k], *(_difference(rows[name][k].differences[other][m]) for name in here)]
                for k in range(len(left_of))
            ]
            text.append(markdown_table(["Positives left", *(CONTENDERS[name].title for name in here)], table))
    text.append("## Standard deviation of the AUC over draws\n")
    text.append(
        markdown_table(
            head,
            [
                [left_of[k], *(f"{rows[name][k].spread['auc']:.3f}" for name in rows)]
                for k in range(len(left_of))
            ],
        )
    )
    text.append("## Chosen inside the training folds: rate / decay (folds)\n")
    text.append(
        markdown_table(
            ["Loss", "Positives left", "Chosen", "Folds at an end of the decays"], choices(design, chosen)
        )
    )
    text.append("## Mean inner AUC of what was chosen\n")
    text.append(
        markdown_table(
            head, [[left_of[k], *(f"{inner[name][k]:.3f}" for name in rows)] for k in range(len(left_of))]
        )
    )
    text.append("## Time to train a network\n")
    text.append(
        markdown_table(
            ["Loss", "Time"],
            [[CONTENDERS[name].title, seconds_text(value)] for name, value in seconds.items()],
        )
    )
    text.append(f"Command: `{command}`\n")
    return "\n".join(text)
