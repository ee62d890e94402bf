"""Prepares a data set: decodes every file, finds the breast, crops, and packs the crops; once, resumable.

Prints the account of every file; writes contact sheets with the boxes, accounts.csv and rejected.csv.

Example:
  python -m launch.prepare --config=configs/mias.py --config.data.source=FOLDER
"""

import dataclasses
import os
from pathlib import Path

from launch import command_line
from launch.command_line import say, track


def prepared(settings):
    """The prepared `RecordSet` of a configuration, made or reused."""
    from mammojax.datasets.prepare import prepare
    from mammojax.errors import UserError

    data = settings.data
    if not data.source:
        raise UserError(
            "config.data.source is empty; give the folder that holds the files: --config.data.source=FOLDER"
        )
    options = {}
    if data.name == "phantom":
        options = {**dataclasses.asdict(data.phantom), "seed": settings.seed}
    elif data.name == "folder":
        options = dataclasses.asdict(data.folder)
    return prepare(
        data.name,
        Path(data.source),
        Path(data.prepared or Path(settings.run) / "prepared"),
        labels=data.labels,
        margin=data.margin,
        for_processing=data.for_processing,
        options=options,
        workers=os.cpu_count() if data.workers < 0 else data.workers,
        strict=data.strict,
        track=track,
        say=say,
    )


def describe(settings, records) -> None:
    """Prints the account of a prepared set and leaves a copy of it in the run directory."""
    from mammojax.datasets import accounts

    ledger = accounts.read_accounts(records.directory)
    accounts.write_accounts(Path(settings.run), ledger)
    tally = accounts.counts(ledger)
    say(
        f"{records.name} ({records.scheme}): {len(records)} images of {len(set(records.patients))} patients, "
        f"{int(records.labels.sum())} positive; files found {tally['found']} = used {tally['used']} + dropped "
        f"{tally['dropped']} + rejected {tally['rejected']}"
    )
    for fate, reason, n in accounts.reasons(ledger)[:5]:
        say(f"  {fate} {n}: {reason}")
    say(f"boxes to look at: {records.directory / 'contact_sheets'}")


def main(settings, arguments: list[str]) -> None:
    from mammojax.runs.environment import record_settings
    from mammojax.settings import to_mapping

    command_line.no_arguments(arguments)
    record_settings(Path(settings.run), to_mapping(settings))
    describe(settings, prepared(settings))


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
