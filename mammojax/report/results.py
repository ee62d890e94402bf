"""From finished cells to what is read: predictions.csv, table.md, table.json, figures/ and report.html."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mammojax.datasets import accounts
from mammojax.errors import UserError
from mammojax.evaluation.localisation import Film
from mammojax.evaluation.predictions import Predictions
from mammojax.evaluation.shortcuts import facts_alone
from mammojax.report import figures
from mammojax.report.by_set import by_set
from mammojax.report.collect import Cell, collect, training_curves
from mammojax.report.findings import Acquisition, Finding, pointing, shortcuts
from mammojax.report.html import Picture, write_report
from mammojax.report.inside import chosen_inside
from mammojax.report.summary import Summary, summarise
from mammojax.report.table import counted, table_json, table_markdown
from mammojax.runs.environment import environment
from mammojax.runs.files import write_json, writing

NOTES = (
    "Epoch, SVM cost and calibration were chosen inside the training folds, by inner patient-wise folds; each held-out fold "
    "was scored once with what was chosen. The held-out curves over the iterations selected nothing.",
    "Images of different folds are scored by different networks, and a network trained on pairs has no scale or offset of its "
    "own. They are ranked together by the log-odds of the calibration that was fitted inside each fold's training data.",
)
FACTS = "acquisition"  # the arm that knows nothing but how a film was taken
CURVES = 4  # arms in the figure of training curves: more cannot be told apart


def write_results(
    directory: Path,
    cells: Sequence[Cell],
    *,
    titles: Mapping[str, str],
    colours: Mapping[str, str],
    proposed: str,
    seed: int,
    resamples: int,
    title: str,
    command: str,
    facts: Mapping[str, object],
    config: Mapping,
    ledger: Sequence[accounts.Account],
    notes: Sequence[str] = NOTES,
    curves_of: Sequence[str] = (),
    pictures: Sequence[Picture] = (),
    acquisition: Acquisition | None = None,
    films: Sequence[Film] = (),
    mapped: str = "",
    findings: Sequence[Finding] = (),
    warning: str = "",
    sets: Mapping[str, Sequence[int]] | None = None,
) -> tuple[str, Path]:
    """Writes all results of a run into `directory`; table.md's text and the report's path.

    cells: (arm, repeat, fold, folder) of every arm on every fold and repeat. titles, colours: of the arms by name. title,
    command: of the report, and what makes the run again. facts: what to say of the data, by name. config: what was asked
    for, as a record. ledger: the accounts of the set's files. notes: sentences on how to read the numbers. curves_of: arms in the figure of training
    curves; empty for the first ones. pictures: more of them, after those that are drawn here. acquisition:
    how the films were taken; adds the arm `FACTS`, which knows nothing else, and every arm within groups. films: held-out
    films of one repeat with the maps of the arm `mapped` (empty: the proposed one); adds where it looks. findings: of the caller's own, before these. warning: what a reader must know
    before anything else, above the table and in the report's title. sets: numbers of the records of each of several sets, by name.
    Raises UserError if cells are missing or of different recipes, or the proposed arm is not among them.
    """
    directory = Path(directory)
    predictions = collect(cells, path=directory / "predictions.csv")
    if proposed not in predictions:
        raise UserError(
            f"the proposed arm is {proposed!r}, expected one of {', '.join(predictions)}; set config.crossval.proposed"
        )
    findings, more = [*findings], []
    inside = chosen_inside(cells, titles)
    if acquisition is not None:
        predictions[FACTS] = facts_alone(acquisition.facts, next(iter(predictions.values())))
        titles = {**titles, FACTS: f"Acquisition alone: {', '.join(acquisition.names)}"}
        colours = {**colours, FACTS: "#aaaaaa"}
        findings.append(shortcuts(predictions, acquisition, titles=titles, seed=seed, resamples=resamples))
    if sets:
        options = {"titles": titles, "proposed": proposed, "seed": seed, "resamples": resamples}
        findings.insert(0, by_set(predictions, sets, **options))
    if films:
        finding, response = pointing(films, title=titles[mapped or proposed], seed=seed, resamples=resamples)
        findings.append(finding)
        write_json(directory / "localisation.json", finding.value)
        figure = figures.free_response_figure(response, title=titles[mapped or proposed])
        data = figures.save_figure(figure, directory / "figures" / "free_response")
        more.append(
            Picture(
                "Free response",
                "Lesions found against false marks an image, 95% intervals.",
                data,
                narrow=True,
            )
        )
    if inside is not None:
        findings.append(inside)
    summary = summarise(predictions, proposed=proposed, seed=seed, resamples=resamples)
    above = [f"**This is {warning}.**", ""] if warning else []
    table = "\n".join(
        [*above, table_markdown(summary, titles), *(finding.markdown() for finding in findings)]
    )
    with writing(directory / "table.md", "w") as file:
        file.write(table)
    write_json(
        directory / "table.json",
        table_json(summary) | {"findings": {finding.heading: finding.value for finding in findings}},
    )
    curves, selected = training_curves(cells)
    shown = {arm: curves[arm] for arm in curves_of or list(curves)[:CURVES] if arm in curves}
    drawn = _drawn(directory / "figures", predictions, summary, (shown, selected), titles, colours)
    write_report(
        directory / "report.html",
        title=f"{title}: {warning}" if warning else title,
        command=command,
        data_set={**facts, **_counts(summary, ledger)},
        losses=accounts.reasons(ledger),
        summary=summary,
        titles=titles,
        pictures=[*drawn, *more, *pictures],
        findings=findings,
        config=config,
        environment=environment(),
        notes=notes,
    )
    return table, directory / "report.html"


def _drawn(
    folder: Path,
    predictions: Mapping[str, Predictions],
    summary: Summary,
    curves: tuple[dict, dict],
    titles: Mapping[str, str],
    colours: Mapping[str, str],
) -> list[Picture]:
    """The figures of a run, also written to `folder`."""
    several = summary.repeats > 1
    marks = "repeats' means" if several else "folds"
    shown = summary.proposed if summary.proposed in predictions else next(iter(predictions))
    drawn = [
        (
            "auc",
            figures.table_figure(summary, titles, colours),
            "The table, drawn",
            f"AUC of every arm by image, breast and patient: mean over folds with its 95% interval; small marks are {marks}.",
        ),
        (
            "roc",
            figures.roc_figure(predictions, titles, colours),
            "ROC curves",
            "Held-out folds ranked together"
            + (", the mean over repeats at each false positive rate." if several else "."),
        ),
        (
            "scores",
            figures.score_figure(predictions[shown], title=titles[shown]),
            "Scores by class",
            "Calibrated log-odds of the held-out images" + (", all repeats." if several else "."),
        ),
        (
            "reliability",
            figures.reliability_figure(predictions, titles, colours),
            "Calibration",
            "Calibrated probability against the share of positives that was found, in six groups of equal size"
            + (", in the first repeat." if several else "."),
        ),
    ]
    if curves[0]:
        figure = figures.training_curves_figure(*curves, titles, colours)
        caption = (
            "Held-out folds while training (Figure 3 of the paper): thin lines are folds, thick ones their mean, marks the "
            "step that was chosen inside the training folds."
        )
        drawn.insert(2, ("training_curves", figure, "AUC against iterations", caption))
    pictures = []
    for name, figure, heading, caption in drawn:
        data = figures.save_figure(figure, folder / name)
        square = figure.get_figwidth() < 1.2 * figure.get_figheight()
        pictures.append(Picture(heading, caption, data, narrow=square))
    return pictures


def _counts(summary: Summary, ledger: Sequence[accounts.Account]) -> dict[str, str]:
    tally = accounts.counts(ledger)
    levels = next(iter(summary.arms.values()))
    return {
        "Images": counted("image", levels["image"]),
        "Breasts": counted("breast", levels["breast"]),
        "Files": f"{tally['found']} found = {tally['used']} used + {tally['dropped']} dropped + "
        f"{tally['rejected']} rejected",
        "Repeats": str(summary.repeats),
    }
