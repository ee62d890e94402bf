"""One page on a prepared set before a run: counts, folds, shortcuts, duplicates, histograms, films; one file, no network."""

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.datasets import accounts
from mammojax.datasets.folds import stratified_folds
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.evaluation.bootstrap import Estimate
from mammojax.runs.files import writing
from mammojax.survey.films import Films, films_of
from mammojax.survey.shortcut import Difference, differences, same_pixels, sentence, shortcut_auc

_SHEETS = 4  # pages of films that the page shows
_GROUPS = 20  # of equal pictures that are listed


@dataclass(frozen=True)
class Survey:
    """What was found. shortcut: the AUC of the facts of acquisition alone, None where it cannot be measured. warnings:
    sentences. page: the HTML file."""

    shortcut: Estimate | None
    warnings: tuple[str, ...]
    page: Path


def survey(records: RecordSet, folder: Path, *, folds: int, seed: int, command: str) -> Survey:
    """Looks at a prepared set and writes `inspect.html` into `folder`, whole or not at all.

    folds, seed: of the run to come, whose first drawing of folds is shown. command: to be typed again.
    Raises UserError for a set that an earlier version prepared.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    films = films_of(records)
    ledger = accounts.read_accounts(records.directory)
    found, shortcut = differences(films, seed=seed), shortcut_auc(films, seed=seed)
    doubles = same_pixels(films)
    warnings = _warnings(shortcut, found, doubles)
    tally = accounts.counts(ledger)
    folders = [one.directory / "contact_sheets" for one in records.parts or (records,)]
    sheets = [path for folder in folders for path in sorted(folder.glob("*.png"))]
    chosen = [sheets[i * len(sheets) // _SHEETS] for i in range(_SHEETS)] if len(sheets) > _SHEETS else sheets
    engine = Environment(
        loader=PackageLoader("mammojax.survey", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = engine.get_template("survey.html.j2").render(
        title=f"{records.name}, {records.scheme}: a look before the run",
        command=command,
        lead=f"{len(films)} films of {len(set(films.patients.tolist()))} patients, {int(films.labels.sum())} positive. "
        f"Files found {tally['found']} = used {tally['used']} + dropped {tally['dropped']} + rejected {tally['rejected']}.",
        warnings=warnings,
        shortcut=_written(shortcut),
        differences=[_row(difference) for difference in found],
        counts=[(name, _counts(words, films.labels)) for name, words in films.named.items()],
        folds=_folds(films, folds, seed),
        losses=accounts.reasons(ledger),
        noted=_noted(ledger),
        doubles=[
            (", ".join(map(str, numbers)), across, differ) for numbers, across, differ in doubles[:_GROUPS]
        ],
        doubled=len(doubles),
        histogram=_uri(_histogram(films)),
        sheets=[_uri(path.read_bytes()) for path in chosen],
        all_sheets=len(sheets),
        sheets_folder=", ".join(map(str, folders)),
    )
    page = Path(folder) / "inspect.html"
    with writing(page, "w") as file:
        file.write(html)
    return Survey(shortcut, tuple(warnings), page)


def _warnings(
    shortcut: Estimate | None,
    found: Sequence[Difference],
    doubles: Sequence[tuple[Sequence[int], bool, bool]],
) -> list[str]:
    warnings = []
    # an AUC of exactly 1 has no interval (NaN)
    if shortcut is not None and shortcut.value > 0.5 and not shortcut.low <= 0.5:
        warnings.append(
            f"the label can be told from how films were taken and stored, AUC {_written(shortcut)}: a network can learn that "
            "instead of the disease"
        )
    warnings += [sentence(difference) for difference in found if difference.warned]
    across = sum(parted for _, parted, _ in doubles)
    if across:
        warnings.append(f"{across} pictures lie under several patients: folds that part them are refused")
    elif doubles:
        warnings.append(
            f"{len(doubles)} pictures lie in several files of one patient and count more than once"
        )
    return warnings


def _written(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not measured: a class has fewer than two patients"
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _row(difference: Difference) -> dict:
    form = "{:.1%}" if difference.kind == "share" else "{:.4g}"
    what = "difference of shares" if difference.kind == "share" else "AUC alone"
    return {
        "name": difference.name,
        "positives": form.format(difference.positives),
        "negatives": form.format(difference.negatives),
        "estimate": f"{what} {_written(difference.estimate)}",
        "warned": difference.warned,
    }


def _counts(words: Sequence[str], labels: np.ndarray) -> list[tuple[str, int, int]]:
    """(word, positives, negatives), most frequent first."""
    positive = Counter(word for word, label in zip(words, labels) if label)
    return [(word, positive[word], n - positive[word]) for word, n in Counter(words).most_common()]


def _folds(films: Films, folds: int, seed: int) -> list[tuple[int, int, int, int]]:
    """(fold, patients, films, positive films) of the run's first drawing; none where a class is too small for so many."""
    try:
        fold_of = stratified_folds(films.patients, films.labels, folds=folds, seed=seed)
    except UserError:
        return []
    return [
        (
            fold,
            len(np.unique(films.patients[fold_of == fold])),
            int((fold_of == fold).sum()),
            int(films.labels[fold_of == fold].sum()),
        )
        for fold in range(folds)
    ]


def _noted(ledger: Sequence[accounts.Account]) -> list[tuple[str, int]]:
    """Warnings of files by how they begin, with the number of files: what stands behind a colon differs from file to file."""
    tally = Counter(
        w.partition(":")[0] if "laterality" in w or "view" in w else w for a in ledger for w in a.warnings
    )
    return tally.most_common(12)


def _histogram(films: Films) -> bytes:
    """PNG: the grey of the breast by label, the mean of the films' histograms and the middle 80% of them."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}):
        figure = Figure((7, 3), layout="constrained")
        axes = figure.add_subplot()
        middle = (np.arange(films.histograms.shape[1]) + 0.5) / films.histograms.shape[1]
        for label, name, colour, style in (
            (1, "positive", "#b84a00", "-"),
            (0, "negative", "#2a6f97", (0, (4, 2))),
        ):
            mine = films.histograms[films.labels == label]
            if len(mine):
                low, high = np.quantile(mine, [0.1, 0.9], axis=0)
                axes.fill_between(middle, low, high, color=colour, alpha=0.15, linewidth=0)
                axes.plot(
                    middle,
                    mine.mean(axis=0),
                    color=colour,
                    linestyle=style,
                    label=f"{name} ({len(mine)} films)",
                )
        axes.set(
            xlabel="grey of the breast, share of the full scale",
            ylabel="share of pixels",
            xlim=(0, 1),
            ylim=(0, None),
        )
        axes.legend(frameon=False)
        data = io.BytesIO()
        FigureCanvasAgg(figure).print_png(data)
    return data.getvalue()


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
