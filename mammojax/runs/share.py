"""Independent work shared out among processes that were given the same command: by lock, without a word between them."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mammojax.runs import locks, stopping


class Piece(NamedTuple):
    """A piece of work that may be done by any process.

    path: what is locked while it is made. what: it in words. attempt: returns its result, made now or there already, and
    None while another process makes it; for a stage, `made` with wait=False.
    """

    path: Path
    what: str
    attempt: Callable[[], Any]


def part(stage: Path, name: str, make: Callable[[], None], *, whole: Callable[[], bool]) -> Piece:
    """A part of the stage in the folder `stage`, for whichever process takes it; its result is True.

    whole(): whether it is there. make() leaves it so. Locked beside the folder, which may be renamed.
    """
    path = stage.with_name(f"{stage.name}.{name}")

    def attempt() -> bool | None:
        if whole():
            return True
        with locks.try_locked(path) as mine:
            if not mine:
                return None
            if not whole():
                make()
            return True

    return Piece(path, f"{name} of {stage.name}", attempt)


def shared(
    pieces: Sequence[Piece],
    *,
    say: Callable[[str], None],
    track: Callable = lambda it, **_: it,
    description: str = "sharing",
    pause: float = 1.0,
) -> list:
    """The results of all pieces, in their order, whoever made them.

    Takes what is free; what others hold is tried again every `pause` seconds, so that the piece of a process that died
    is taken by one that lives. Each piece that is waited for is said once.
    """
    results: dict[int, Any] = {}
    told: set[int] = set()
    done = iter(track(range(len(pieces)), total=len(pieces), description=description))
    while len(results) < len(pieces):
        waiting = []
        for number, piece in enumerate(pieces):
            if number in results:
                continue
            result = piece.attempt()
            if result is None:
                waiting.append(number)
            else:
                results[number] = result
                next(done, None)
        if waiting:
            for number in waiting:
                if number not in told:
                    told.add(number)
                    say(f"{pieces[number].what} is being made by {locks.holder(pieces[number].path)}")
            with stopping.waiting():
                time.sleep(pause)
    next(done, None)  # the end of the bar
    return [results[number] for number in range(len(pieces))]
