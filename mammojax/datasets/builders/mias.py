"""mini-MIAS (Suckling et al. 1994): 322 digitised films, 8 bits, 200 micron pixels, MLO, both breasts of 161 patients."""

import re
from collections.abc import Callable
from pathlib import Path

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.labels import Facts
from mammojax.datasets.layout import files_below, opened
from mammojax.datasets.record import Source
from mammojax.errors import UserError

_LINE = re.compile(r"^(mdb(\d{3}))\s+([FGD])\s+(CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)\b(.*)$")
_SIZE = 1024  # pixels a side, clipped or padded by the publishers


def read_info(text: str) -> dict[str, list[dict]]:
    """Findings by image name from `Info.txt`: kind, severity ("B", "M" or ""), and row, column, radius or None.

    In the file y counts from the bottom edge; row = 1023 - y. An image with several lines has several findings.
    """
    images: dict[str, list[dict]] = {}
    for line in text.splitlines():
        match = _LINE.match(line.strip())
        if not match:
            continue  # prose
        name, _, tissue, kind, rest = match.groups()
        words = rest.split()
        severity = words[0] if words and words[0] in ("B", "M") else ""
        numbers = words[1:4] if severity else []
        known = len(numbers) == 3 and all(
            n.isdigit() for n in numbers
        )  # three lines say *NOTE 3*: widespread
        place = {}
        if known:
            column, y, radius = map(int, numbers)
            place = {"row": _SIZE - 1 - y, "column": column, "radius": radius}
        images.setdefault(name, []).append({"tissue": tissue, "kind": kind, "severity": severity, **place})
    return images


def _wanted(name: str) -> str:
    """Where a member of the published archive goes: pictures and Info.txt, flat, and nothing else."""
    last = Path(name).name
    return last if re.fullmatch(r"mdb\d{3}\.pgm|Info\.txt", last) else ""


def _info(source: Path) -> Path | None:
    """The Info.txt of a folder, or of the only folder below it that has one."""
    names = [name for name in files_below(source) if name.rpartition("/")[2].lower() == "info.txt"]
    depth = min((name.count("/") for name in names), default=0)
    nearest = [name for name in names if name.count("/") == depth]
    return source / nearest[0] if len(nearest) == 1 else None


def _pictures(folder: Path) -> dict[str, list[Path]]:
    """The films in the folder of Info.txt and below it, by name; of several files of one name the nearest first."""
    names = [name for name in files_below(folder) if re.search(r"(^|/)mdb[^/]*\.pgm$", name, re.IGNORECASE)]
    pictures: dict[str, list[Path]] = {}
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        pictures.setdefault(Path(name).stem.lower(), []).append(folder / name)
    return pictures


class Mias(MammogramBuilder):
    """mini-MIAS: digitised films with the whole image's finding; research use only."""

    SCHEMES = ("abnormal", "malignant")
    HOW = (
        "download all-mias.tar.gz from the Mammographic Image Analysis Society's mini-MIAS page and give the folder "
        "that holds it, packed or unpacked"
    )
    SIGN = r"(^|/)(mdb\d{3}\.pgm|all-mias\.tar\.gz)$"

    @staticmethod
    def find(
        source: Path,
        workspace: Path,
        *,
        workers: int = 0,
        track: Callable | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[Source]:
        """See `MammogramBuilder.find`. Images 2k-1 and 2k are the two breasts of patient k; laterality is not taken
        from the film number, since the films' mirrored lettering contradicts Info.txt."""
        archive = source / "all-mias.tar.gz"
        source = opened(archive if archive.is_file() else source, workspace, say=say, place=_wanted)
        info = _info(source)
        pictures = _pictures(info.parent) if info else {}
        if info is None or not pictures:
            lacking = "Info.txt" if info is None else "mdb*.pgm"
            raise UserError(f"{source} is not mini-MIAS: {lacking} is absent; {Mias.HOW}")
        images = read_info(info.read_text(encoding="latin-1"))
        found = []
        for name in sorted({*images, *pictures}):
            path, *others = pictures.get(name, [info.parent / f"{name}.pgm"])
            findings = images.get(name, [])
            patient = (int(re.sub(r"\D", "", name) or 0) + 1) // 2
            found.append(
                Source(
                    file=f"{name}.pgm",
                    path=path,
                    patient=f"mias-{patient:03d}",
                    breast=name,
                    view="MLO",
                    spacing=(0.2, 0.2),
                    shape=(_SIZE, _SIZE),
                    facts=Facts(
                        malignant=any(f["severity"] == "M" for f in findings) if findings else None,
                        abnormal=any(f["kind"] != "NORM" for f in findings) if findings else None,
                    ),
                    lesions=tuple(f for f in findings if "row" in f),
                    missing="" if path.is_file() else "listed in Info.txt, but the file is absent",
                )
            )
            for other in others:
                file = other.relative_to(info.parent).as_posix()
                found.append(
                    Source(file, other, "", None, left_out="a film that is there nearer to Info.txt")
                )
        return found
