"""What is known of how films were taken, beside what they show: the facts that could be a shortcut to the label."""

import math
from collections import Counter

import numpy as np

from mammojax.datasets.record import RecordSet
from mammojax.report.findings import Acquisition

GROUPS = 6  # more are not told apart in a table: the rarest become one
NAMES = ("size", "area and grey of the breast", "bits", "spacing", "side", "view")


def acquisition_of(records: RecordSet) -> Acquisition:
    """Size, breast area and mean grey (what stands for density), bits, spacing, side and view of every record; groups by
    whatever of bits, spacing and view varies."""
    order = sorted(range(len(records)), key=lambda i: records.records[i].number)
    facts = np.asarray([_facts(records, i) for i in order], float)
    return Acquisition(NAMES, facts, groups_of([records.records[i] for i in order]))


def _facts(records: RecordSet, i: int) -> list[float]:
    r = records.records[i]
    image, tissue = records.image(i), records.tissue(i) / 255.0
    block = -(-image.shape[0] // tissue.shape[0])  # pixels a side of what the mask is kept in
    sampled = image[block // 2 :: block, block // 2 :: block].astype(float)
    rows, columns = (min(sides) for sides in zip(sampled.shape, tissue.shape))
    weights = tissue[:rows, :columns]
    grey = float((sampled[:rows, :columns] * weights).sum() / max(weights.sum(), 1e-9)) / (2**r.bits - 1)
    spacing = r.spacing[0] if r.spacing else math.nan
    side = {"L": 0.0, "R": 1.0}.get(r.laterality, math.nan)
    view = {"CC": 0.0, "MLO": 1.0}.get(r.view, math.nan)
    return [r.height, r.width, float(tissue.sum()), grey, r.bits, spacing, side, view]


def groups_of(records) -> list[str]:
    """A name for each record, made of what varies among them: bits, spacing, view."""
    described = {
        "bits": [f"{r.bits} bits" for r in records],
        "spacing": [f"{r.spacing[0]:.3g} mm" if r.spacing else "spacing unknown" for r in records],
        "view": [r.view or "view unknown" for r in records],
    }
    varying = [values for values in described.values() if len(set(values)) > 1]
    names = [", ".join(values) for values in zip(*varying)] if varying else ["all films"] * len(records)
    common = {name for name, _ in Counter(names).most_common(GROUPS - 1)}
    return names if len(set(names)) <= GROUPS else [name if name in common else "others" for name in names]
