"""Metrics of a training run: one JSON object a line, and the same for TensorBoard."""

import json
import os
from pathlib import Path

METRICS = "metrics.jsonl"


class MetricsFile:
    """Appends to `metrics.jsonl` and to a TensorBoard event file in the same folder.

    epochs: epochs already trained; lines of later epochs, left by a killed run, are removed, so that the file of a
    resumed run equals that of an uninterrupted one. No wall-clock time enters the file for the same reason.
    """

    def __init__(self, folder: Path, *, epochs: int):
        self.path = Path(folder) / METRICS
        kept = [line for line in read_metrics(self.path) if line["epoch"] <= epochs]
        from mammojax.runs.files import writing

        with writing(self.path, "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in kept)
        from tensorboardX import SummaryWriter

        self._board = SummaryWriter(
            str(Path(folder) / "tensorboard"), purge_step=kept[-1]["step"] + 1 if kept else 0
        )

    def write(self, epoch: int, step: int, **values: float) -> None:
        """One line; values are plain floats, None for what could not be computed."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, "step": step, **values}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.show(step, **{name: value for name, value in values.items() if value is not None})

    def show(self, step: int, **values: float) -> None:
        """For TensorBoard alone: what another run would not repeat to the byte."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Closes the event file."""
        self._board.close()


def read_metrics(path: Path) -> list[dict]:
    """The lines of a metrics file up to one that is none, as a last one that was cut short by a kill. [] if there is no
    file."""
    lines = []
    if Path(path).is_file():
        for text in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
                int(line["epoch"])
            except (ValueError, TypeError, KeyError):
                break
            lines.append(line)
    return lines
