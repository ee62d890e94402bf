"""The report: one HTML file that holds everything and needs no network."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mammojax.evaluation.statistics import Summary, arm_name, method, written
from mammojax.run import writing

_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Picture:
    """A figure of the report. data: SVG or PNG bytes. caption: what is seen and how it was made. narrow: shown small,
    for square figures."""

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
    """Writes the report, whole or not at all.

    data_set: facts by name, in the order in which they are shown. losses: (fate, reason, files) of all that was not
    used. proposed: the arm that is set off in the table. notes: sentences on how to read the numbers.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    engine = Environment(
        loader=PackageLoader("mammojax.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = [
        {
            "name": arm_name(arm),
            "proposed": arm == proposed,
            "mean": written(result.mean),
            "deviation": f"{result.deviation:.3f}" if result.deviation == result.deviation else "",
            "pooled": written(result.pooled),
            "folds": ", ".join(f"{value:.2f}" for value in result.folds.values()),
        }
        for arm, result in summary.arms.items()
    ]
    differences = [
        {
            "name": arm_name(arm),
            "mean": written(d.mean, signed=True),
            "pooled": written(d.pooled, signed=True),
        }
        for arm, d in summary.differences.items()
    ]
    html = engine.get_template(_TEMPLATE).render(
        title=title,
        command=command,
        data_set=data_set,
        losses=losses,
        rows=rows,
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
