"""Measurements of the pairwise loss: each program checked against float64, then timed with the others in turns."""

from collections.abc import Callable

import numpy as np

from mammojax.benchmarks.loss import peers as loss_peers
from mammojax.benchmarks.loss.reference import aum, reference, relative_errors
from mammojax.benchmarks.tables import bytes_text, seconds_text
from mammojax.benchmarks.timing import Unavailable, available_bytes, best_of, device_name, memory_growth

WRONG = 1e-2  # a relative error from which a program is said to compute something else
SEEN = 16 * 2**20  # bytes: a process grows by less for other reasons, and allocators keep what they have
COLUMNS = ["part", "program", "surrogate", "distribution", "scores", "positives", "negatives", "device"]
COLUMNS += ["milliseconds", "ns_per_score", "gb_per_s", "repeats", "loss_error", "gradient_error"]
COLUMNS += ["gradient_vector_error", "reference", "temporary_bytes", "memory_source"]


def drawn(size: int, positives: int, distribution: str = "normal"):
    """(scores float32[n], labels int32[n]): the positives one unit above the negatives, the classes mixed."""
    generator = np.random.default_rng([size, positives])
    labels = np.zeros(size, np.int32)
    labels[generator.choice(size, positives, replace=False)] = 1
    noise = generator.normal(size=size) if distribution == "normal" else generator.standard_cauchy(size)
    return (noise + labels).astype(np.float32), labels


class Measurements:
    """rows of measurements (the columns of `COLUMNS`), and skipped: (where, program, reason) of what was left out.

    surrogate: of the loss. repeats: the best of so many. budget: seconds for all repeats of a program at a size; what a
    program's last size tells that it takes longer is left out. say: prints a line.
    """

    def __init__(self, surrogate: str, repeats: int, budget: float, say: Callable[[str], None]):
        self.surrogate, self.repeats, self.budget, self.say = surrogate, repeats, budget, say
        self.rows, self.skipped, self.last = [], [], {}

    def skip(self, where: str, program: str, reason: object) -> None:
        self.skipped.append((where, program, " ".join(str(reason).split())[:200]))

    def found(self, part: str, program: str, size: int, positives: int, distribution: str = "normal"):
        """The row of a program at a size, measured now or before in this part; None if it was skipped."""
        wanted = (part, program, size, positives, distribution)
        for row in self.rows:
            if (
                tuple(row[key] for key in ("part", "program", "scores", "positives", "distribution"))
                == wanted
            ):
                return row
        return self.measure(part, [program], size, positives, distribution).get(program)

    def measure(
        self, part: str, programs: list[str], size: int, positives: int, distribution: str = "normal"
    ) -> dict[str, dict]:
        """program -> row, of those that can be run at this size; each is checked, then all are timed in turns."""
        where = f"{size:,} scores, {positives:,} positive, {distribution}"
        scores, labels = drawn(size, positives, distribution)
        truth, calls, rows = None, {}, {}
        for name in (name for name in programs if name != "exp_sum"):
            try:
                self._check_cost(name, size, positives)
                program = loss_peers.prepare(name, scores, labels, self.surrogate)
                if (program.temporary or 0) > available_bytes():
                    raise Unavailable(f"too much memory: {bytes_text(program.temporary)} temporary")
                result, grown = memory_growth(program.call)
            except Unavailable as error:
                self.skip(where, name, error)
                continue
            except Exception as error:  # another program's failure must not end the sweep
                if name in loss_peers.IMPLEMENTATIONS and not isinstance(error, ValueError):
                    raise
                self.skip(where, name, f"{type(error).__name__}: {error}")
                continue
            if grown is not None and grown < SEEN:
                grown = None
            if name in loss_peers.SORTING:
                expected = aum(scores, labels)
            else:
                expected = truth = truth or reference(scores, labels, self.surrogate)
            loss_error, whole, worst = relative_errors(*program.unpacked(result), expected)
            # where scores tie, one that sorts has a slope of its own choice
            judged = (loss_error,) if name in loss_peers.SORTING else (loss_error, whole)
            if not all(error < WRONG for error in judged):  # NaN is none
                self.skip(
                    where, name, f"wrong: the loss is off by {loss_error:.1g}, its gradient by {whole:.1g}"
                )
                continue
            calls[name] = program.call
            stated = program.temporary is not None
            rows[name] = {
                "device": program.device,
                "loss_error": f"{loss_error:.2g}",
                "gradient_error": f"{worst:.2g}",
                "gradient_vector_error": f"{whole:.2g}",
                "reference": expected.method,
                "temporary_bytes": program.temporary if stated else grown,
                "memory_source": "compiled program" if stated else "process peak" if grown else "n/a",
            }
        calls["exp_sum"] = loss_peers.exp_and_sum(scores)
        rows["exp_sum"] = {"device": device_name()}
        for name, (seconds, repeats) in best_of(calls, self.repeats, self.budget).items():
            self.last[name] = (size, positives, seconds, rows[name].get("temporary_bytes"))
            rows[name] |= {
                "part": part,
                "program": name,
                "surrogate": self.surrogate,
                "distribution": distribution,
                "scores": size,
                "positives": positives,
                "negatives": size - positives,
                "milliseconds": float(f"{seconds * 1e3:.4g}"),
                "ns_per_score": float(f"{seconds / size * 1e9:.4g}"),
                # the least that must move: scores and labels read, the gradient written
                "gb_per_s": float(f"{(4 if name == 'exp_sum' else 12) * size / seconds / 1e9:.3g}"),
                "repeats": repeats,
            }
        self.rows += rows.values()
        self.say(
            f"{where}: " + ", ".join(f"{n} {seconds_text(r['milliseconds'] / 1e3)}" for n, r in rows.items())
        )
        return rows

    def _check_cost(self, name: str, size: int, positives: int) -> None:
        """Raises Unavailable if the program's last size tells that this one takes too much."""
        if name not in self.last:
            return
        size_before, positives_before, seconds, temporary = self.last[name]
        pairs = positives * (size - positives) / (positives_before * (size_before - positives_before))
        growing = size / size_before if name in ("fast", *loss_peers.SORTING) else pairs
        if seconds * growing > self.budget:
            raise Unavailable(
                f"too slow: {seconds_text(seconds * growing)} expected, --budget_seconds={self.budget:g}"
            )
        if name in ("torch", "libauc") and (temporary or 0) * growing > available_bytes():
            raise Unavailable(f"too much memory: {bytes_text(temporary * growing)} expected")
