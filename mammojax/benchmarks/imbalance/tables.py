"""The document of the benchmark, in Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mammojax.benchmarks.imbalance.contenders import CONTENDERS
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
    """Rows of loss, share, and "rate / decay" with the folds that chose it. chosen: loss -> int[shares, 2] of each fold."""
    rows = []
    for name, folds in chosen.items():
        for k, share in enumerate(design.shares):
            tally = Counter(f"{design.rates[one[k][0]]:g} / {design.decays[one[k][1]]:g}" for one in folds)
            picked = ", ".join(f"{what} ({n})" for what, n in tally.most_common())
            rows.append([CONTENDERS[name].title, share_text(share), picked])
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
    shown = [f"{share_text(share)}: {n}" for share, n in zip(design.shares, left)]
    text = ["# Losses under imbalance\n", *(f"{note}\n" for note in notes)]
    for m, word in WORDS.items():
        text.append(f"## {word}\n")
        table = [
            [shown[k], *(_estimate(rows[name][k].estimates[m]) for name in rows)] for k in range(len(shown))
        ]
        text.append(markdown_table(head, table))
    for other in ("logistic", "auc"):
        here = [name for name in rows if other in rows[name][0].differences]
        for m, word in WORDS.items():
            if not here:
                continue
            text.append(f"## {word}: difference to {CONTENDERS[other].title}, paired\n")
            table = [
                [shown[k], *(_difference(rows[name][k].differences[other][m]) for name in here)]
                for k in range(len(shown))
            ]
            text.append(markdown_table(["Positives left", *(CONTENDERS[name].title for name in here)], table))
    text.append("## Standard deviation of the AUC over draws\n")
    text.append(
        markdown_table(
            head,
            [[shown[k], *(f"{rows[name][k].spread['auc']:.3f}" for name in rows)] for k in range(len(shown))],
        )
    )
    text.append("## Chosen inside the training folds: rate / decay (folds)\n")
    text.append(markdown_table(["Loss", "Positives left", "Chosen"], choices(design, chosen)))
    text.append("## Mean inner AUC of what was chosen\n")
    text.append(
        markdown_table(
            head, [[shown[k], *(f"{inner[name][k]:.3f}" for name in rows)] for k in range(len(shown))]
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
