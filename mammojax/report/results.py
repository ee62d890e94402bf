"""From finished cells to what is read: predictions.csv, table, figures, report. Reads the run directory alone."""

from pathlib import Path

from mammojax.datasets import accounts
from mammojax.evaluation.statistics import Summary, summarise, table_json, table_markdown
from mammojax.experiment.split import cell_folder, collect, training_curves
from mammojax.report import figures
from mammojax.report.html import Picture, write_report
from mammojax.runs import stages
from mammojax.runs.environment import environment
from mammojax.runs.files import read_json, write_json, writing

PROPOSED = "auc"
NOTES = (
    "Epoch, SVM cost and calibration were chosen on an inner patient-wise split of the training folds; each held-out fold "
    "was scored once with what was chosen. The held-out curves over the iterations selected nothing.",
    "The pooled AUC ranks images of different folds, scored by different networks, on the log-odds of the calibration "
    "fitted inside each fold's training data: a network trained on pairs has no scale or offset of its own.",
)


def write_results(directory: Path, config: dict, *, command: str) -> tuple[str, Path]:
    """Writes all results of a run; the table in Markdown and the report's path.

    config: as in config.json. command: makes the run again. Raises UserError if cells are missing.
    """
    directory = Path(directory)
    settings = config["crossval"]
    arms, folds = list(settings["arms"]), settings["folds"]
    predictions = collect(directory, arms, folds)
    proposed = PROPOSED if PROPOSED in arms else arms[-1]
    summary = summarise(predictions, seed=config["seed"], resamples=settings["resamples"], proposed=proposed)
    table = table_markdown(summary)
    with writing(directory / "table.md", "w") as file:
        file.write(table)
    write_json(directory / "table.json", table_json(summary))
    curves = training_curves(directory, arms, folds)
    pictures = _pictures(directory, predictions, summary, curves, proposed)
    facts = environment()
    ledger = accounts.read_accounts(directory)
    write_report(
        directory / "report.html",
        title=f"mammojax: {config['data']['name']}, {folds}-fold cross-validation",
        command=command,
        data_set=_facts(config, summary, ledger, proposed),
        losses=accounts.reasons(ledger),
        summary=summary,
        proposed=proposed,
        pictures=pictures,
        config=config,
        environment=facts,
        notes=NOTES,
    )
    return table, directory / "report.html"


def _pictures(directory: Path, predictions, summary: Summary, curves, proposed: str) -> list[Picture]:
    selected = {
        arm: {
            fold: read_json(cell_folder(directory, arm, fold) / stages.STAGE_FILE).get("step")
            for fold in folds
        }
        for arm, folds in curves.items()
    }
    shown = {arm: curves[arm] for arm in ("bce", "auc") if arm in curves} or curves
    drawn = [
        (
            "auc",
            figures.table_figure(summary),
            "The table, drawn",
            "AUC of every arm: mean over folds with its 95% interval, folds as marks.",
        ),
        ("roc", figures.roc_figure(predictions, summary), "ROC curves", "Pooled out-of-fold predictions."),
    ]
    if shown:
        drawn.append(
            (
                "training_curves",
                figures.training_curves_figure(shown, selected),
                "AUC against iterations",
                "Held-out folds while training (Figure 3 of the paper): thin lines are folds, thick ones their "
                "mean, dots the step that was chosen inside the training folds.",
            )
        )
    drawn += [
        (
            "scores",
            figures.score_figure(proposed, predictions[proposed]),
            "Scores by class",
            "Calibrated log-odds of the held-out images.",
        ),
        (
            "reliability",
            figures.reliability_figure(predictions),
            "Calibration",
            "Calibrated probability against the share of positives that was found, in six groups of equal size.",
        ),
    ]
    pictures = []
    for name, figure, heading, caption in drawn:
        figures.save_figure(figure, directory / "figures" / name)
        square = figure.get_figwidth() < 1.2 * figure.get_figheight()
        pictures.append(Picture(heading, caption, figures.svg(figure), narrow=square))
    return pictures


def _facts(config: dict, summary: Summary, ledger, proposed: str) -> dict:
    tally = accounts.counts(ledger)
    arm = summary.arms[proposed]
    return {
        "Data set": config["data"]["name"],
        "Label scheme": config["data"]["labels"] or "the data set's default",
        "Images": f"{arm.images}, {arm.positives} positive",
        "Patients": f"{arm.patients}, {arm.positive_patients} positive",
        "Files": f"{tally['found']} found = {tally['used']} used + {tally['dropped']} dropped + "
        f"{tally['rejected']} rejected",
        "Scanning network": f"{config['model']['backbone']}, np = {config['model']['np']}",
    }
