"""The report: one HTML file that holds everything and needs no network."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mammojax.evaluation.bootstrap import Estimate
from mammojax.evaluation.metrics import METRICS
from mammojax.evaluation.predictions import LEVELS
from mammojax.report.findings import Finding
from mammojax.report.summary import Summary
from mammojax.report.table import counted, method, spread, written
from mammojax.runs.files import writing

_TEMPLATE = "report.html.j2"
_TO = "\u00a0to\u00a0"  # an interval stays on one line


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
    titles: Mapping[str, str],
    pictures: Sequence[Picture],
    config: Mapping,
    environment: Mapping,
    notes: Sequence[str],
    findings: Sequence[Finding] = (),
) -> None:
    """Writes the report, whole or not at all; the browser is told to load nothing from elsewhere.

    data_set: facts by name, in the order in which they are shown. losses: (fate, reason, files) of all that was not
    used. titles: of the arms by name. notes: sentences on how to read the numbers, beside those of `method`.
    findings: small tables of their own, after the table.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    engine = Environment(
        loader=PackageLoader("mammojax.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    several = summary.repeats > 1

    def row(arm: str, cells: list[str]) -> dict:
        return {"name": titles[arm], "proposed": arm == summary.proposed, "cells": cells}

    folds = sorted(
        {fold for arm in summary.arms.values() for of in arm["image"].folds.values() for fold in of}
    )
    html = engine.get_template(_TEMPLATE).render(
        title=title,
        command=command,
        data_set=data_set,
        losses=losses,
        mean_of="mean over folds and repeats" if several else "mean over folds",
        overview={
            "heads": ["Arm", *map(str.capitalize, LEVELS)],
            "rows": [
                row(arm, [_unbroken(levels[level].estimates["mean"]) for level in LEVELS])
                for arm, levels in summary.arms.items()
            ],
        },
        levels=[_level(summary, level, row) for level in LEVELS],
        differences=[_differences(summary, level, row) for level in LEVELS] if summary.differences else [],
        notes=[*method(summary), *notes],
        findings=[
            {
                "heading": finding.heading,
                "note": finding.note,
                "heads": finding.heads,
                "rows": [
                    {"name": name, "proposed": False, "cells": [cell.replace(" to ", _TO) for cell in cells]}
                    for name, *cells in finding.rows
                ],
            }
            for finding in findings
        ],
        repeats=summary.repeats,
        folds=folds,
        fold_rows=[
            row(arm, []) | {"repeat": repeat, "folds": [_plain(of.get(fold, math.nan)) for fold in folds]}
            for arm, levels in summary.arms.items()
            for repeat, of in levels["image"].folds.items()
        ],
        pictures=pictures,
        proposed=titles.get(summary.proposed, summary.proposed),
        config=json.dumps(config, indent=1, sort_keys=True),
        environment=json.dumps(environment, indent=1, sort_keys=True),
    )
    with writing(path, "w") as file:
        file.write(html)


def _level(summary: Summary, level: str, row) -> dict:
    """The table of one level."""
    several = summary.repeats > 1
    spreads = ["SD of folds", "SD of repeats"] if several else ["SD of folds"]
    rows = []
    for arm, levels in summary.arms.items():
        here = levels[level]
        cells = [
            spread(here.folds_sd),
            *([spread(here.repeats_sd)] if several else []),
            *(_unbroken(here.estimates[name]) for name in METRICS if name != "mean"),
        ]
        rows.append(row(arm, [_unbroken(here.estimates["mean"]), *cells]))
    return {
        "heading": f"By {level}",
        "counted": counted(level, here) + ".",
        "heads": [
            "Arm",
            METRICS["mean"].title,
            *spreads,
            *(METRICS[name].title for name in METRICS if name != "mean"),
        ],
        "rows": rows,
    }


def _differences(summary: Summary, level: str, row) -> dict:
    """The paired differences of one level, all metrics."""
    return {
        "heading": f"By {level}",
        "heads": ["Other arm", *(metric.title for metric in METRICS.values()), "AUC, mean over folds, says"],
        "rows": [
            row(
                arm,
                [
                    *(_unbroken(levels[level][name], signed=True) for name in METRICS),
                    _reading(levels[level]["mean"]),
                ],
            )
            for arm, levels in summary.differences.items()
        ],
    }


def _unbroken(estimate: Estimate, *, signed: bool = False) -> str:
    """An estimate whose interval stays on one line."""
    return written(estimate, signed=signed).replace(" to ", _TO)


def _plain(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.3f}"


def _reading(difference: Estimate) -> str:
    """What the interval of a difference (proposed minus other) allows to say."""
    if difference.low > 0:
        return "the proposed is higher"
    if difference.high < 0:
        return "the proposed is lower"
    return "no difference shown"
