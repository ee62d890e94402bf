"""External validation: a finished run's networks on another set, without training; what they were calibrated to stays.

All networks of an arm, of every fold and repeat, score every record, and their calibrated log-odds are averaged: the
model that `predict` applies to new files. The result is a run directory of its own in RUN/external, one cell an arm,
from which the table and the report are made as of a cross-validation with one fold.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mammojax.datasets import accounts
from mammojax.datasets import samples as sampling
from mammojax.datasets.acquisition import read_acquisitions
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.evaluation.calibration import Platt
from mammojax.experiment import inputs
from mammojax.experiment.fit import made_by
from mammojax.experiment.held_out import prepared_of
from mammojax.experiment.model import OWN, Model
from mammojax.experiment.predictions import described, write_predictions
from mammojax.experiment.split import Split
from mammojax.experiment.table import Entry, Table, read_table, write_table
from mammojax.experiment.whole_set import sample_logits
from mammojax.runs import stages
from mammojax.runs.environment import record_settings
from mammojax.runs.files import write_json
from mammojax.settings import Settings, to_mapping

FORM = 1  # raise when reading or scoring changes what a cell holds
FACTS_FILE = "external.json"
CALIBRATED = Platt(1.0, 0.0)  # what is written is log-odds already


def external(
    run: Path,
    on: Settings,
    *,
    arms: Sequence[str] = (),
    standardise: str = "train",
    like: str = "",
    weights: str = "",
    say: Callable[[str], None] = print,
    track: Callable = lambda it, **_: it,
) -> Path:
    """The directory with the cells and the index of a run's arms on the set of `on`; what is finished is reused.

    on: only its data, its bootstrap and its seed count, and where it is prepared (in the run's own folders if it does not
    say); crops are made as for training. arms: of the run's table, by name; empty for all. standardise: "train": channels
    in units of the training folds, as they are in the models; "own": of this set's tissue cells, all of its records,
    without labels. like: of a run that was trained on several sets, the one in whose units
    ("train") this one comes. weights: file of the scanning network, "" for where it was in training.
    Raises UserError for what a user can mend, and where pictures of the set are among those that the run was trained on.
    """
    run = Path(run)
    if like and standardise == "own":
        raise UserError(f"--like={like} and --standardise=own name two units; give one of them")
    if on.data.also:
        raise UserError("config.data.also is set; a run is tested on one set at a time, leave it out")
    table = read_table(run)
    models = {
        arm: Model(table.folders(arm), weights=weights, like=OWN if standardise == "own" else like)
        for arm in arms or table.arms
    }
    for arm, model in models.items():
        if standardise == "own" and model.stage == "merged":
            raise UserError(
                f"{arm} is fine-tuned: its channels are its own and cannot be standardised anew; leave it out with --arms"
            )
    on = _as_trained(run, on, models)
    records = inputs.prepared(on, say=say, track=track)
    both = len(set(records.labels.tolist())) == 2
    say(
        f"{records.name} ({records.scheme}): {len(records)} images of {len(set(records.patients))} patients, "
        f"{int(records.labels.sum())} positive" + ("" if both else "; no AUC without both classes")
    )
    _refuse_trained_on(run, table, records, say)
    made_from = {"prepared": records.directory.name, "standardise": standardise}
    if like:
        made_from["like"] = like
    statistics = (
        "this set's own tissue cells, without labels" if standardise == "own" else "the training folds"
    ) + (f" of {like}" if "like" in made_from else "")
    say(f"channels are standardised by {statistics} (--standardise={standardise})")
    keys = {arm: model.key for arm, model in models.items()}
    directory = run / "external" / stages.key(models=keys, **made_from)
    record_settings(directory, to_mapping(on))
    accounts.write_accounts(directory, accounts.read_accounts(records.directory))
    entries = {}
    for arm, model in models.items():
        folder = _cell(
            directory, arm, model, records, made_from, cache=inputs.cache_folder(on), say=say, track=track
        )
        entries[arm] = [Entry(0, 0, folder.name)]
    titles, colours = ({arm: held[arm] for arm in models} for held in (table.titles, table.colours))
    proposed = table.proposed if table.proposed in models else list(models)[-1]
    facts = {
        "networks": {arm: len(model) for arm, model in models.items()},
        "standardise": standardise,
        "statistics": statistics,
        "models": {arm: [entry.key for entry in table.arms[arm]] for arm in models},
        "control": made_by(table.folders(proposed)[0]).get("control", "none"),
        "scores_cells": [arm for arm, model in models.items() if model.scores_cells],
        "reads_exams": [arm for arm, model in models.items() if model.reads_exams],
    }
    write_json(directory / FACTS_FILE, facts)
    write_table(Table(directory, entries, titles, colours, proposed, to_mapping(on)))
    return directory


def _refuse_trained_on(run: Path, table: Table, records: RecordSet, say: Callable) -> None:
    """UserError if the networks have seen pictures of this set in training, by the decoded pixels of both."""
    folder = Path(table.config["data"]["prepared"] or run / "prepared")
    trained = prepared_of(folder, table.folders(table.proposed)[0])
    if trained is None:
        say(
            f"the films that the run was trained on are not in {folder} any more: whether some are tested on is not known"
        )
        return
    known = {film.pixels for film in read_acquisitions(trained.directory)}
    seen = sum(film.pixels in known for film in read_acquisitions(records.directory))
    if seen:
        raise UserError(
            f"{seen} of {len(records)} pictures of {records.name} are among those that the run was trained on, so that a "
            "test on them says nothing of new ones; give another set, or the part of this one that was not trained on "
            "(config.data.split)"
        )


def _as_trained(run: Path, on: Settings, models: dict[str, Model]) -> Settings:
    """The settings of the other set with crops as the models know them, prepared and scanned in the run's folders."""
    wanted = {
        name: {model.facts[name] for model in models.values()}
        for name in ("margin", "for_processing", "sample")
    }
    for name, values in wanted.items():
        if len(values) > 1:
            raise UserError(
                f"the arms differ in config.data.{name} ({values}); choose some of one kind with --arms"
            )
    same = {name: values.pop() for name, values in wanted.items()}
    return dataclasses.replace(on, run=str(run), data=dataclasses.replace(on.data, **same))


def _cell(
    directory: Path,
    arm: str,
    model: Model,
    records: RecordSet,
    made_from: dict,
    *,
    cache: Path,
    say: Callable,
    track: Callable,
) -> Path:
    """The finished cell of one arm: predictions.csv of all records."""
    samples = sampling.samples(records, model.facts["sample"])
    partner = sampling.partner(records)
    near = inputs.neighbours(samples, partner, sampling.other_view(records))
    everyone = np.arange(len(samples))

    def make(folder: Path) -> dict:
        logits, read = sample_logits(
            model,
            records,
            samples.members,
            partner,
            cache=cache,
            scratch=folder / stages.WORK,
            own=made_from["standardise"] == "own",
            say=say,
            track=track,
        )
        scores = model.combined(logits, (near.partner, near.other_view))
        rows = described(records, samples, everyone)
        parts = Split(0, 0, np.empty(0, np.int64), everyone, ())
        write_predictions(folder / "predictions.csv", rows, scores, CALIBRATED, parts)
        return {
            "arm": arm,
            "repeat": 0,
            "fold": 0,
            "recipe": {"model": model.key},
            "made_from": {**made_from, **read},
        }

    key = stages.key(model=model.key, **made_from, form=FORM)
    return stages.made(directory / "cells", key, make, what=f"{arm} on {records.name}", say=say)
