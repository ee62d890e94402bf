"""Prepares a data set: decodes every file, finds the breast, crops, and packs the crops; once, resumable.

Prints the account of every file; writes contact sheets with the boxes, accounts.csv and rejected.csv.

Example:
  python -m launch.prepare --config=configs/mias.py --config.data.source=FOLDER
"""

import os
from collections import Counter
from pathlib import Path

from launch import command_line
from launch.command_line import say, track


def prepared(config):
    """The prepared `RecordSet` of a configuration, made or reused."""
    from mammojax.datasets.prepare import prepare
    from mammojax.errors import UserError

    data = config.data
    if not data.source:
        raise UserError(
            "config.data.source is empty; give the folder that holds the files: --config.data.source=FOLDER"
        )
    options = {}
    if data.name == "phantom":
        options = {**data.phantom.to_dict(), "seed": config.seed}
    elif data.name == "folder":
        options = data.folder.to_dict()
    return prepare(
        data.name,
        Path(data.source),
        Path(data.prepared or Path(config.run) / "prepared"),
        labels=data.labels,
        margin=data.margin,
        depth=data.get("depth", 0),
        for_processing=data.for_processing,
        options=options,
        workers=os.cpu_count() if data.workers < 0 else data.workers,
        strict=data.strict,
        track=track,
        say=say,
    )


def describe(config, records) -> None:
    """Prints the account of a prepared set and leaves a copy of it in the run directory."""
    from mammojax.datasets import accounts

    ledger = accounts.read_accounts(records.directory)
    accounts.write_accounts(Path(config.run), ledger)
    tally = accounts.counts(ledger)
    say(
        f"{records.name} ({records.scheme}): {len(records)} images of {len(set(records.patients))} patients, "
        f"{int(records.labels.sum())} positive; files found {tally['found']} = used {tally['used']} + dropped "
        f"{tally['dropped']} + rejected {tally['rejected']}"
    )
    for fate, reason, n in accounts.reasons(ledger)[:5]:
        say(f"  {fate} {n}: {reason}")
    who = Counter(a.patient_from for a in ledger if a.fate == "used")
    warned = sum(bool(a.warnings) for a in ledger)
    say(
        f"patients by the {' and the '.join(f'{whom} ({n} files)' for whom, n in sorted(who.items()))}; "
        f"files with warnings: {warned} (accounts.csv)"
    )
    if records.depth:
        say(f"16-bit PNG, TIFF and PGM files that do not state their depth: {records.depth} bits")
    say(f"boxes to look at: {records.directory / 'contact_sheets'}")


def main(config, arguments: list[str]) -> None:
    from mammojax.runs.environment import record_settings

    command_line.no_arguments(arguments)
    record_settings(Path(config.run), config.to_dict())
    describe(config, prepared(config))


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
