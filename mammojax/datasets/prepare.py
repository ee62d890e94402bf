"""From files to records, once: hash, decode, find the breast, crop, and pack; killed at any moment, it goes on where it
was.

A prepared set lies in a folder named by the key of all that determines it: the bytes of the files, what the data set's
table says of them, the label scheme, and the rules. Processes that want the same set share out the files and, when all
are cropped, the shards that they are packed into; one finishes.
"""

import functools
import importlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from mammojax.datasets import accounts
from mammojax.datasets.accounts import Account
from mammojax.datasets.builders import BUILDERS
from mammojax.datasets.contents import Contents
from mammojax.datasets.crop import crop_file
from mammojax.datasets.duplicates import resolved
from mammojax.datasets.labels import Dropped, chosen_scheme, label, numbered_classes
from mammojax.datasets.layout import files_below
from mammojax.datasets.listing import Entry, entries
from mammojax.datasets.outcome import Outcome, note_crash, outcome_path, read_outcome
from mammojax.datasets.pack import DRAWN, pack
from mammojax.datasets.record import RecordSet, Source
from mammojax.datasets.shards import write_shards
from mammojax.datasets.workers import shared_results
from mammojax.errors import UserError
from mammojax.images.reading.isolated import CRASHED
from mammojax.runs import locks, stages
from mammojax.runs.files import writing

FORM = 6  # raise when decoding, cropping or the schema changes what a record holds
_LOOKED_AT = 5000  # names of files of a folder that is not what it was said to be


def builder_class(name: str):
    """The builder of a data set by its name; UserError for an unknown one."""
    if name not in BUILDERS:
        raise UserError(f"unknown data set {name!r}; known are {', '.join(BUILDERS)}")
    module, _, attribute = BUILDERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def sources(
    name: str,
    source: Path,
    directory: Path,
    *,
    options: dict | None = None,
    workers: int = 0,
    track: Callable = lambda it, **_: it,
    say: Callable[[str], None] = lambda text: None,
) -> list[Source]:
    """What the data set says of every file; see `MammogramBuilder.find`, and `prepare` for the arguments.

    Raises UserError where the folder cannot be read or is not of this set; then it tells which set it looks like.
    """
    source, workspace = Path(source), Path(directory) / "unpacked" / name
    try:
        return builder_class(name).find(
            source, workspace, workers=workers, track=track, say=say, **(options or {})
        )
    except OSError as error:
        raise UserError(
            f"{source} cannot be read: {error.strerror}; give a folder that you may read"
        ) from error
    except UserError as error:
        other = looks_like(source)
        if other in ("", name):
            raise
        raise UserError(f"{error}. The folder looks like {other}: data.name={other}") from None


def looks_like(source: Path) -> str:
    """The data set whose files' names are found in a folder, "" if there is none. A few thousand names are looked at."""
    names = [source.name, *islice(files_below(source), _LOOKED_AT)]
    told = {name: builder_class(name).SIGN for name in BUILDERS}
    found = {name: sum(bool(re.search(sign, file)) for file in names) for name, sign in told.items() if sign}
    best = max(found, key=found.get)
    return best if found[best] else ""


def prepare(
    name: str,
    source: Path,
    directory: Path,
    *,
    labels: str = "",
    split: str = "",
    margin: float = 0.02,
    depth: int = 0,
    for_processing: str = "log",
    options: dict | None = None,
    workers: int = 0,
    strict: bool = False,
    track: Callable = lambda it, **_: it,
    say: Callable[[str], None] = lambda text: None,
) -> RecordSet:
    """The prepared data set of `source`, made or reused.

    name: a data set of `BUILDERS`. directory: prepared sets lie in it, one folder a key. labels: the label scheme,
    "" for the data set's default. split: the part of the data set's official split, "" for everything. margin: of the breast box, share of its longer side. depth: bits of 16-bit rasters
    that do not state their own; 0: found from all files of the set together. for_processing: "log" or "refuse" raw
    detector images. options: the builder's own. workers: processes, 0 for none. strict: rejected files are an error.
    track(iterable, total=, description=) shows progress; say(text) prints a line.
    Raises UserError when nothing usable is found; with strict also when a file was rejected.
    """
    builder, directory = builder_class(name), Path(directory)
    scheme = chosen_scheme(labels, builder.SCHEMES)
    if split and split not in builder.SPLITS:
        offered = (
            f"choose one of {', '.join(builder.SPLITS)}" if builder.SPLITS else "it has no official split"
        )
        raise UserError(f"data.split is {split!r}, which {name} does not have; {offered}, or leave it empty")
    listed = sources(name, source, directory, options=options, workers=workers, track=track, say=say)
    files = entries(listed, scheme, split)
    _refuse_unlabelled(files, scheme, builder.SCHEMES)
    contents = Contents(directory / "contents.json")
    described = [entry for entry in files if entry.source.facts is not None and not entry.rejected]
    paths = [entry.source.path for entry in described]
    digests = contents.digests(paths, workers=workers, track=track)
    stage_key = stages.key(
        name=name,
        scheme=scheme,
        margin=margin,
        depth=depth,
        for_processing=for_processing,
        form=FORM,
        files=[_identity(entry, digests.get(entry.source.path, "")) for entry in files],
    )

    wanted = [entry for entry in described if not isinstance(entry.verdict, Dropped)]

    def crop(folder: Path) -> int:
        """Crops the files, with the other processes that do, and returns the depth of the set's rasters."""
        work = folder / stages.WORK
        bits = depth or contents.depth(
            [(path, digests[path]) for path in paths], workers=workers, track=track
        )
        one = functools.partial(
            crop_file,
            work=work,
            salt=_salt(folder, say),
            margin=margin,
            for_processing=for_processing,
            depth=bits,
        )
        jobs = [(e.source, e.number, digests[e.source.path], e.verdict) for e in wanted]

        def done(number: int) -> bool:  # a finished stage has no outcomes any more
            return outcome_path(work, wanted[number].source.file).is_file() or (
                stages.finished(folder) is not None
            )

        left = sum(not done(number) for number in range(len(jobs)))
        cropped = shared_results(one, jobs, done=done, stage=folder, workers=workers)
        for number, outcome in track(cropped, total=left, description="cropping"):
            if outcome == CRASHED:
                note_crash(work, wanted[number].source.file, outcome)
        return bits

    def found(work: Path) -> list[Outcome]:
        return [read_outcome(work, entry.source.file) for entry in wanted]

    def help(folder: Path) -> None:
        work = folder / stages.WORK
        crop(folder)
        try:
            outcomes = found(work)
        except FileNotFoundError:  # another process has finished, and removed its scratch
            return
        used, _, _ = resolved([outcome for outcome in outcomes if outcome.record])
        if used:
            write_shards(name, used, folder, work, workers=workers, track=track, wait=False)

    def make(folder: Path) -> dict:
        work = folder / stages.WORK
        bits = crop(folder)
        outcomes = found(work)
        used, left_out, notes = resolved([outcome for outcome in outcomes if outcome.record])
        rejected = {e.number: o.reason for e, o in zip(wanted, outcomes) if not o.record}
        pack(name, used, folder, work, scheme=scheme, depth=bits, workers=workers, track=track)
        if inverted := sum(any("looks inverted" in w for w in o.record.warnings) for o in used):
            notes.append(
                f"{inverted} pictures look inverted, white around the breast; see the warnings in accounts.csv"
            )
        if not scheme.startswith("birads") and (
            note := numbered_classes([e.source.facts for e in described])
        ):
            notes.append(note)
        if len(used) > DRAWN:
            notes.append(f"contact sheets show {DRAWN} of {len(used)} films, at equal distances by name")
        numbered = {outcome.record.number: outcome for outcome in used}
        ledger = [_account(entry, rejected, left_out, numbered) for entry in files]
        accounts.write_accounts(folder, ledger)
        return {"dataset": name, "scheme": scheme, "counts": accounts.counts(ledger), "notes": notes}

    folder = stages.made(
        directory,
        stage_key,
        make,
        what=f"prepared set {stage_key}",
        say=say,
        help=help,
    )
    for note in stages.finished(folder)["notes"]:
        say(note)
    return _checked(RecordSet(folder), accounts.read_accounts(folder), strict)


def _account(
    entry: Entry, rejected: dict[int, str], left_out: dict[int, str], used: dict[int, Outcome]
) -> Account:
    number, file = entry.number, entry.source.file
    if isinstance(entry.verdict, Dropped):
        fate = "rejected" if entry.rejected else "dropped"
        return Account(number, file, fate, entry.verdict.reason, warnings=entry.source.warnings)
    if number in rejected:
        return Account(number, file, "rejected", rejected[number], warnings=entry.source.warnings)
    if number in left_out:
        return Account(number, file, "dropped", left_out[number], warnings=entry.source.warnings)
    outcome = used[number]
    return Account(number, file, "used", "", outcome.patient_from, outcome.record.warnings)


def _refuse_unlabelled(files: Sequence[Entry], scheme: str, offered: tuple[str, ...]) -> None:
    """UserError where the scheme labels no file but another that is offered would."""
    described = [e.source.facts for e in files if e.source.facts is not None and not e.rejected]
    if any(not isinstance(e.verdict, Dropped) for e in files):
        return
    for other in offered:
        verdicts = [label(facts, other) for facts in described]
        if 0 in verdicts and 1 in verdicts:
            raise UserError(
                f"no file has a label by the scheme {scheme}, but {other} gives {verdicts.count(1)} positive and "
                f"{verdicts.count(0)} negative ones; choose it with data.labels={other}"
            )


def _checked(record_set: RecordSet, ledger: Sequence[Account], strict: bool) -> RecordSet:
    tally = accounts.counts(ledger)
    if strict and tally["rejected"]:
        raise UserError(
            f"{tally['rejected']} of {tally['found']} files were rejected and strict is set; "
            f"see {record_set.directory / 'rejected.csv'}"
        )
    if not len(record_set):
        reasons = "; ".join(f"{n} {fate}: {reason}" for fate, reason, n in accounts.reasons(ledger)[:3])
        raise UserError(
            f"none of {tally['found']} files could be used ({reasons or 'no files found'}); "
            f"see {record_set.directory / 'accounts.csv'}"
        )
    return record_set


def _identity(entry: Entry, sha256: str) -> dict:
    """What determines a record and its account: the bytes and what is said of them, not where they lie or since when."""
    facts = asdict(entry.source)
    for field in ("path", "left_out", "parts"):  # the latter two are in the verdict
        facts.pop(field)
    for field in ("device", "shape"):
        if not facts[field]:
            facts.pop(field)  # says nothing: the keys of sets without it are those of before there was one
    verdict = entry.verdict.reason if isinstance(entry.verdict, Dropped) else entry.verdict
    return {**facts, "verdict": verdict, "sha256": sha256}


def _salt(folder: Path, say: Callable[[str], None]) -> str:
    """The secret that identifiers are hashed with; made once, under a lock of its own, and kept with the stage."""
    path, lock = folder / "salt", folder.with_name(f"{folder.name}.salt")
    if not path.is_file():
        with locks.locked(lock, what="the salt", say=say):
            if not path.is_file():
                with writing(path, "w") as file:
                    file.write(secrets.token_hex(16))
    return path.read_text(encoding="utf-8").strip()
