"""The report: one HTML file that holds everything and needs no network."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mammojax.evaluation.statistics import Estimate, Summary, arm_name, method, written
from mammojax.runs.files import writing

_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    data: SVG or PNG bytes. caption: what is seen and how it was made. narrow: shown small, for square figures.
    """

    heading: str
    caption: str
    data: bytes
    narrow: bool = False

    @property
    def source(self) -> str:
        """A data URI."""
        kind = "png" if self.data.startswith(b"\x89PNG") else "svg+xml"
        return f"data:image/{kind};base64,{base64.b64encode(self.data).decode()}"


def write_report(
    path: Path,
    *,
    title: str,
    command: str,
    data_set: Mapping[str, object],
    losses: Sequence[tuple[str, str, int]],
    summary: Summary,
    proposed: str,
    pictures: Sequence[Picture],
    config: Mapping,
    environment: Mapping,
    notes: Sequence[str],
) -> None:
    """Writes the report, whole or not at all; the browser is told to load nothing from elsewhere.

    data_set: facts by name, in the order in which they are shown. losses: (fate, reason, files) of all that was not
    used. proposed: the arm that is set off in the table. notes: sentences on how to read the numbers.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    engine = Environment(
        loader=PackageLoader("mammojax.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folds = sorted({fold for result in summary.arms.values() for fold in result.folds})
    rows = [
        {
            "name": arm_name(arm),
            "proposed": arm == proposed,
            "mean": _unbroken(result.mean),
            "deviation": _plain(result.deviation),
            "pooled": _unbroken(result.pooled),
            "folds": [_plain(result.folds[fold]) for fold in folds],
        }
        for arm, result in summary.arms.items()
    ]
    differences = [
        {
            "name": arm_name(arm),
            "mean": _unbroken(d.mean, signed=True),
            "pooled": _unbroken(d.pooled, signed=True),
            "reading": _reading(d.mean),
        }
        for arm, d in summary.differences.items()
    ]
    html = engine.get_template(_TEMPLATE).render(
        title=title,
        command=command,
        data_set=data_set,
        losses=losses,
        rows=rows,
        folds=folds,
        differences=differences,
        method=method(summary),
        pictures=pictures,
        notes=notes,
        proposed=arm_name(proposed),
        config=json.dumps(config, indent=1, sort_keys=True),
        environment=json.dumps(environment, indent=1, sort_keys=True),
    )
    with writing(path, "w") as file:
        file.write(html)


def _unbroken(estimate: Estimate, *, signed: bool = False) -> str:
    """An estimate whose interval stays on one line."""
    return written(estimate, signed=signed).replace(" to ", "\u00a0to\u00a0")


def _plain(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.3f}"


def _reading(difference: Estimate) -> str:
    """What the interval of a difference (proposed minus other) allows to say."""
    if difference.low > 0:
        return "the proposed is higher"
    if difference.high < 0:
        return "the proposed is lower"
    return "no difference shown"
