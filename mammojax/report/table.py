"""The table of a summary, in Markdown for people and as JSON for programs."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

from mammojax.evaluation.bootstrap import LEVEL, Estimate
from mammojax.evaluation.metrics import METRICS
from mammojax.evaluation.predictions import LEVELS
from mammojax.report.summary import LevelSummary, Summary

SAMPLES = {"image": "images", "breast": "breasts", "patient": "patients"}  # what is counted at each level


def written(estimate: Estimate, *, signed: bool = False) -> str:
    """An estimate for people: "0.712 (0.655 to 0.769)"; signed: with its sign, as differences are."""
    if math.isnan(estimate.value):
        return "not defined"
    form = "{:+.3f}" if signed else "{:.3f}"
    if math.isnan(estimate.low):
        text = form.format(estimate.value) + " (no interval)"
    else:
        text = f"{form.format(estimate.value)} ({form.format(estimate.low)} to {form.format(estimate.high)})"
    return text.replace("-", "\u2212")


def spread(value: float) -> str:
    """A standard deviation for people, empty if there is none."""
    return "" if math.isnan(value) else f"{value:.3f}"


def counted(level: str, summary: LevelSummary) -> str:
    """How many stand behind the numbers of a level: "267 images (68 positive) of 69 patients (38 positive)"."""
    text = f"{summary.samples} {SAMPLES[level]} ({summary.positives} positive)"
    return (
        text
        if level == "patient"
        else text + f" of {summary.patients} patients ({summary.positive_patients} positive)"
    )


def method(summary: Summary) -> list[str]:
    """How the numbers of a summary were made and how they are read, in sentences."""
    several = summary.repeats > 1
    first = next(iter(summary.arms.values()))["image"]
    folds = max(map(len, first.folds.values()))
    drawn = "of the patients" if folds == 1 else "of the patients inside each fold"
    if several:
        drawn = "of the patients, who are the same in all repeats"
    text = [
        f"In brackets: 95% intervals from {summary.resamples} bootstrap resamples {drawn}; they say what other patients would "
        "change.",
        "A breast's score is the mean of its images' calibrated log-odds, a patient's the larger of the breasts'; a label is "
        "the largest of its images'.",
        "Pooled, average precision and sensitivity rank the calibrated log-odds of all folds together. The sensitivity's "
        "threshold is the one that leaves 90% of the same held-out negatives below it.",
    ]
    if several:
        text.append(
            f"All numbers are means over {summary.repeats} repeats, each with folds and seeds of its own. SD of folds: over the "
            "folds of a repeat. SD of repeats: over the repeats' mean AUC; it says what other folds and seeds would change "
            "on the same patients, and is not part of the interval."
        )
    elif folds == 1:
        text.append("There are no folds: the mean over folds and the pooled AUC are one number.")
    else:
        text.append(
            "SD of folds: over the folds' AUC. One repeat: what other folds and seeds would change is not shown."
        )
    for level, number in summary.discarded.items():
        if number:
            text.append(
                f"{number} resamples had no fold with both classes of {SAMPLES[level]} and were discarded."
            )
    if any(math.isnan(e.low) and not math.isnan(e.value) for e in _estimates(summary)):
        text.append("No interval is given where the resamples do not vary, as at an AUC of exactly 1.")
    return text


def table_markdown(summary: Summary, titles: Mapping[str, str]) -> str:
    """The table in Markdown: AUC at three levels, then each level with all metrics, then the paired differences.

    titles: of the arms, by name. The proposed arm is set in bold.
    """
    several = summary.repeats > 1

    def name(arm: str) -> str:
        proposed = arm == summary.proposed and len(summary.arms) > 1
        return f"**{titles[arm]}**" if proposed else titles[arm]

    def mean(level: LevelSummary) -> str:
        return written(level.estimates["mean"]) + (f", SD {spread(level.repeats_sd)}" if several else "")

    note = ", 95% interval" + (" and SD of repeats" if several else "")
    lines = [
        f"AUC, mean over folds{' and repeats' if several else ''}{note}:",
        "",
        *rows(
            "Arm",
            LEVELS,
            ((name(arm), [mean(s[level]) for level in LEVELS]) for arm, s in summary.arms.items()),
        ),
    ]
    for level in LEVELS:
        first = next(iter(summary.arms.values()))[level]
        spreads = ["SD of folds", "SD of repeats"] if several else ["SD of folds"]
        lines += ["", f"**{level.capitalize()}**: {counted(level, first)}.", ""]
        heads = ["AUC, mean over folds", *spreads, *(METRICS[m].title for m in METRICS if m != "mean")]
        lines += rows(
            "Arm",
            heads,
            (
                (
                    name(arm),
                    [
                        written(s[level].estimates["mean"]),
                        *[spread(s[level].folds_sd), spread(s[level].repeats_sd)][: len(spreads)],
                        *(written(s[level].estimates[m]) for m in METRICS if m != "mean"),
                    ],
                )
                for arm, s in summary.arms.items()
            ),
        )
    if summary.differences:
        lines += ["", f"AUC, mean over folds: {titles[summary.proposed]} minus the other arm, paired:", ""]
        lines += rows(
            "Other arm",
            LEVELS,
            (
                (name(arm), [written(d[level]["mean"], signed=True) for level in LEVELS])
                for arm, d in summary.differences.items()
            ),
        )
    return "\n".join([*lines, "", " ".join(method(summary)), ""])


def table_json(summary: Summary) -> dict:
    """The summary as a JSON value: unrounded, None for what is undefined.

    {"proposed": ARM, "arms": {ARM: {LEVEL: {METRIC: {"value", "low", "high"}, "folds": {REPEAT: {FOLD: AUC}}, "folds_sd",
    "repeats_sd", "samples", "positives", "patients", "positive_patients"}}}, "differences": {ARM: {LEVEL: {METRIC: ...}}}}
    and how it was made. differences: proposed minus ARM.
    """

    def level(summary: LevelSummary) -> dict:
        value = asdict(summary)
        return {**value.pop("estimates"), **value}

    arms = {arm: {name: level(s) for name, s in levels.items()} for arm, levels in summary.arms.items()}
    return plain(
        {
            "proposed": summary.proposed,
            "arms": arms,
            "differences": asdict(summary)["differences"],
            "repeats": summary.repeats,
            "resamples": summary.resamples,
            "discarded": summary.discarded,
            "seed": summary.seed,
            "level": LEVEL,
        }
    )


def rows(corner: str, heads: Sequence[str], lines: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """The lines of a table in Markdown, whatever signs names, heads and cells hold. lines: (name, cells)."""
    table = [[corner, *(head[0].upper() + head[1:] for head in heads)], [":--"] * (len(heads) + 1)]
    table += [[name, *cells] for name, cells in lines]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table]


def plain(value):
    """A JSON value with None for NaN and text for names."""
    if isinstance(value, dict):
        return {str(name): plain(v) for name, v in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _estimates(summary: Summary) -> Iterator[Estimate]:
    for levels in summary.arms.values():
        for level in levels.values():
            yield from level.estimates.values()
    for levels in summary.differences.values():
        for level in levels.values():
            yield from level.values()
