"""From files to records, once: decode, find the breast, crop, and pack; killed at any moment, it goes on where it was.

Each file's crop is finished by an atomic rename in a work folder outside the builder's (TFDS starts its own folder
again from nothing after a kill); when all are there, the builder only packs. Every file ends as used, dropped or
rejected, and the counts add up.
"""

import hashlib
import importlib
import json
import multiprocessing
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from mammojax.datasets import accounts
from mammojax.datasets.accounts import Account
from mammojax.datasets.builders import BUILDERS
from mammojax.datasets.labels import Dropped, label
from mammojax.datasets.record import INDEX_FILE, Record, RecordSet, Source, features, tissue_share, to_example
from mammojax.errors import UserError
from mammojax.images.reading.isolated import CRASHED
from mammojax.runs import stages
from mammojax.runs.files import write_json, writing

FORM = 3  # raise when decoding, cropping or the schema changes what a record holds
_SHEET = 28  # films a contact sheet


def builder_class(name: str):
    """The builder of a data set by its name; UserError for an unknown one."""
    if name not in BUILDERS:
        raise UserError(f"unknown data set {name!r}; known are {', '.join(BUILDERS)}")
    module, _, attribute = BUILDERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def prepare(
    name: str,
    source: Path,
    directory: Path,
    *,
    labels: str = "",
    margin: float = 0.02,
    for_processing: str = "log",
    options: dict | None = None,
    workers: int = 0,
    strict: bool = False,
    track: Callable = lambda it, **_: it,
    say: Callable[[str], None] = lambda text: None,
) -> RecordSet:
    """The prepared data set of `source`, made or reused.

    name: a data set of `BUILDERS`. directory: prepared sets lie in it, one folder a key. labels: the label scheme,
    "" for the data set's default. margin: of the breast box, share of its longer side. for_processing: "log" or
    "refuse" raw detector images. options: the builder's own. workers: processes, 0 for none. strict: rejected files
    are an error. track(iterable, total=, description=) shows progress; say(text) prints a line.
    Raises UserError when nothing usable is found; with strict also when a file was rejected.
    """
    builder = builder_class(name)
    scheme = labels or builder.SCHEMES[0]
    directory, source = Path(directory), Path(source)
    extra = {"workers": workers, "track": track} if name == "phantom" else {}
    sources = builder.find(source, directory / "unpacked" / name, **(options or {}), **extra)
    if scheme not in builder.SCHEMES:
        label(None, scheme, builder.SCHEMES)  # raises, naming what is offered
    stage_key = stages.key(
        name=name,
        scheme=scheme,
        margin=margin,
        for_processing=for_processing,
        form=FORM,
        files=[_identity(s) for s in sources],
    )
    folder = directory / stage_key
    if stages.is_finished(folder, stage_key):
        say(f"prepared set {stage_key} is reused")
        return _checked(RecordSet(folder), accounts.read_accounts(folder), strict)
    salt = _salt(folder)
    fates: dict[int, Account] = {}
    wanted: dict[int, tuple[Source, int]] = {}
    seen: set[str] = set()
    for i, item in enumerate(sources):
        if item.missing:
            fates[i] = Account(item.file, "rejected", item.missing)
        elif item.file in seen:
            fates[i] = Account(item.file, "rejected", "listed twice; the first entry counts")
        elif item.facts is None:
            fates[i] = Account(item.file, "dropped", "not listed in the data set's table")
        elif isinstance(verdict := label(item.facts, scheme, builder.SCHEMES), Dropped):
            fates[i] = Account(item.file, "dropped", verdict.reason)
        else:
            wanted[i] = (item, verdict)
        seen.add(item.file)
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    jobs = {i: (item, truth, work, salt, margin, for_processing) for i, (item, truth) in wanted.items()}
    fates.update(_crop_all(jobs, workers, track))
    record_set = _pack(
        builder,
        name,
        scheme,
        folder,
        [work / _stem(wanted[i][0]) for i in sorted(wanted) if fates[i].fate == "used"],
        track,
    )
    ledger = [fates[i] for i in range(len(sources))]
    accounts.write_accounts(folder, ledger)
    shutil.rmtree(work)
    stages.finish(folder, stage_key, dataset=name, scheme=scheme, counts=accounts.counts(ledger))
    return _checked(record_set, ledger, strict)


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


def _identity(source: Source) -> list:
    """What tells a changed file or table from an unchanged one without reading the pixels."""
    stat = source.path.stat() if source.path.is_file() else None
    size = [stat.st_size, stat.st_mtime_ns] if stat else []
    facts = vars(source.facts) if source.facts else None
    return [
        source.file,
        size,
        source.patient,
        source.breast,
        source.laterality,
        source.view,
        facts,
        source.missing,
    ]


def _salt(folder: Path) -> str:
    """The secret that identifiers are hashed with; made once, kept with the prepared set."""
    path = folder / "salt"
    if not path.is_file():
        with writing(path, "w") as file:
            file.write(secrets.token_hex(16))
    return path.read_text(encoding="utf-8").strip()


def _stem(source: Source) -> str:
    return hashlib.sha256(source.file.encode()).hexdigest()[:20]


def _crop_all(jobs: dict[int, tuple], workers: int, track: Callable) -> dict[int, Account]:
    """The fate of every job, in this process or in a pool. A file that kills its worker is rejected, the rest goes on."""
    if workers == 0:
        return {i: _crop_file(*jobs[i]) for i in track(jobs, total=len(jobs), description="cropping")}
    return dict(track(_in_pool(jobs, workers), total=len(jobs), description="cropping"))


def _in_pool(jobs: dict[int, tuple], workers: int) -> Iterator[tuple[int, Account]]:
    context = multiprocessing.get_context("spawn")  # fork is unsafe once JAX or Grain have started threads
    waiting, alone = list(jobs), False
    while waiting:
        with ProcessPoolExecutor(1 if alone else workers, mp_context=context) as pool:
            running = {}
            try:
                while waiting or running:
                    while waiting and len(running) < (1 if alone else 2 * workers):
                        i = waiting.pop(0)
                        running[pool.submit(_crop_file, *jobs[i])] = i
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        fate = future.result()
                        yield running.pop(future), fate
            except BrokenProcessPool:
                lost = list(running.values())
                if alone:  # it was this file and no other
                    yield lost[0], Account(jobs[lost[0]][0].file, "rejected", CRASHED)
                    lost = lost[1:]
                waiting, alone = lost + waiting, True


def _crop_file(
    source: Source, truth: int, work: Path, salt: str, margin: float, for_processing: str
) -> Account:
    """Decodes and crops one file into `work`; runs in a worker. Finished files are not done again."""
    from mammojax.images.breast import breast_mask, crop_breast
    from mammojax.images.mammogram import Rejected
    from mammojax.images.reading.any_file import read_mammogram

    done = work / f"{_stem(source)}.json"
    if done.is_file():
        return Account(**json.loads(done.read_text(encoding="utf-8"))["account"])
    record = None
    try:
        data = source.path.read_bytes()
        mammogram = read_mammogram(data, source.file, for_processing=for_processing)
        patient = source.patient or mammogram.patient
        if not patient:
            raise Rejected("no patient identity in the table or the header; folds could not be patient-wise")
        crop = crop_breast(mammogram, margin=margin)
    except Rejected as reason:
        account = Account(source.file, "rejected", str(reason))
    except (MemoryError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        account = Account(source.file, "rejected", f"cannot be read: {reason}")
    else:
        laterality = source.laterality or mammogram.laterality
        view = source.view or mammogram.view
        mask = breast_mask(mammogram.pixels, mammogram.bits)[crop.box.slices]
        tissue = tissue_share(mask[:, ::-1] if crop.flipped else mask)
        record = Record(
            record=Path(source.file).with_suffix("").as_posix() if Path(source.file).suffix else source.file,
            patient=_hashed(salt, patient),
            breast=_hashed(salt, patient, source.breast or laterality or source.file),
            breast_stated=bool(source.breast),
            label=truth,
            laterality=laterality,
            view=view,
            bits=crop.bits,
            height=crop.image.shape[0],
            width=crop.image.shape[1],
            spacing=source.spacing or mammogram.spacing,
            source=source.file,
            sha256=hashlib.sha256(data).hexdigest(),
            geometry=crop.geometry.to_json(),
            box=(crop.box.top, crop.box.left, crop.box.height, crop.box.width),
            rules=tuple(mammogram.rules),
            warnings=(*mammogram.warnings, *crop.warnings),
        )
        _write_example(
            work / f"{_stem(source)}.array_record", to_example(record, crop.image, tissue, source.lesions)
        )
        _write_thumbnail(work / f"{_stem(source)}.npz", mammogram, crop)
        account = Account(source.file, "used")
    write_json(done, {"account": vars(account), "record": record and record.to_json()})
    return account


def _hashed(salt: str, *identifiers: str) -> str:
    return hashlib.sha256("\0".join((salt, *identifiers)).encode()).hexdigest()[:16]


def _write_example(path: Path, example: dict) -> None:
    from array_record.python import array_record_module

    aside = path.with_suffix(".partial")
    writer = array_record_module.ArrayRecordWriter(str(aside), "group_size:1")
    writer.write(features().serialize_example(example))
    writer.close()
    aside.replace(path)


def _write_thumbnail(path: Path, mammogram, crop) -> None:
    """A small copy of the whole picture and of the breast's mask, for the contact sheets."""
    import numpy as np

    from mammojax.images.breast import breast_mask

    step = max(1, -(-max(mammogram.pixels.shape) // 384))
    small = mammogram.pixels[::step, ::step]
    box = np.asarray([crop.box.top, crop.box.left, crop.box.height, crop.box.width]) // step
    with writing(path) as file:
        np.savez(file, pixels=small, bits=mammogram.bits, box=box, mask=breast_mask(small, mammogram.bits))


def _read_example(path: Path) -> dict:
    from array_record.python import array_record_module

    reader = array_record_module.ArrayRecordReader(str(path))
    example = features().deserialize_example_np(reader.read())
    reader.close()
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in example.items()}


def _pack(builder, name: str, scheme: str, folder: Path, stems: list[Path], track: Callable) -> RecordSet:
    """Packs the finished crops in their order, writes the index in the same order, and draws the contact sheets."""
    facts = {}
    for stem in stems:
        value = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))["record"]
        facts[value["record"]] = value
    if len(facts) != len(stems):
        raise UserError(
            "two files differ only in their suffix; rename one of them so that record names are unique"
        )
    files = ""
    if facts:
        for rest in (folder / name).glob("*incomplete*"):
            shutil.rmtree(rest)  # TFDS leaves these after a kill
        target = folder / name / str(builder.VERSION)
        if not target.is_dir():

            def examples():
                for stem in track(stems, total=len(stems), description="packing"):
                    example = _read_example(stem.with_suffix(".array_record"))
                    yield example["record"], example

            target = builder(data_dir=folder, examples=examples).pack()
        files = Path(target).relative_to(folder).as_posix()
    write_json(
        folder / INDEX_FILE, {"name": name, "scheme": scheme, "files": files, "records": list(facts.values())}
    )
    _draw_sheets(folder, stems, facts)
    return RecordSet(folder)


def _draw_sheets(folder: Path, stems: list[Path], facts: dict[str, dict]) -> None:
    import numpy as np

    from mammojax.datasets.sheets import contact_sheet
    from mammojax.images.geometry import Box

    def films():
        for stem in stems:
            with np.load(stem.with_suffix(".npz")) as kept:
                caption = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))["record"][
                    "record"
                ]
                yield kept["pixels"], int(kept["bits"]), Box(*map(int, kept["box"])), kept["mask"], caption

    contact_sheet(films(), folder / "contact_sheets")
