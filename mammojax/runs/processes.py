"""The processes of one program, and what they tell each other beside the numbers that travel between their devices.

JAX's distributed runtime joins them (`join`). A program of one process is the rule: everything here is then trivial. The
first process decides, speaks and writes what is written once; the others hear from it. Whoever ends ends all (`leave`),
with its exit code. What dies without a word is missed by the runtime after `lost_after` seconds, and it aborts the
others: see `supervised`.
"""

import contextlib
import json
import os
import sys
import threading
import time
from typing import Any, NoReturn

from mammojax.errors import UserError

PATIENCE = 5.0  # seconds that a process which ends all waits for the others to have noticed
_POLL = 0.5
_END, _LEFT, _WORD = "mammojax/end", "mammojax/left/", "mammojax/word/"

_number, _own = 1, 0
_words = 0  # told or heard so far
_leaving = threading.Event()


def join(
    coordinator: str = "", number: int = 0, own: int = -1, *, lost_after: int = 60, wait: int = 300
) -> bool:
    """Joins the processes that were started together; False if JAX finds none. To be called before JAX has a device.

    coordinator ("host:port" of the first process), number, own: empty, 0, -1 for what JAX finds by itself: Slurm's
    variables under srun, Open MPI's, TPU metadata, Kubernetes Indexed Jobs. lost_after: seconds without a sign of life
    after which a process is lost. wait: seconds for all to come. Raises UserError if they do not find each other.
    """
    global _number, _own
    import jax

    # JAX's own notifier would take SIGTERM away from `stopping`
    jax.config.update("jax_enable_preemption_service", False)
    # what the flags say is not asked of Kubernetes, which may give no rights to ask
    told = coordinator and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        jax.distributed.initialize(
            coordinator or None,
            number or None,
            own if own >= 0 else None,
            local_device_ids=_only_device(),
            cluster_detection_method="deactivate" if told else None,
            heartbeat_timeout_seconds=lost_after,
            initialization_timeout=wait,
        )
    except Exception as error:  # of the scheduler's client too: no answer, no rights
        if not coordinator and "coordinator_address should be defined" in str(error):
            return False
        what = " ".join(str(error).split())[:300]
        raise UserError(
            f"the processes of this program did not find each other ({what}); look at the coordinator, or give --alone"
        ) from error
    _number, _own = jax.process_count(), jax.process_index()
    if _number > 1:
        threading.Thread(target=_watch, daemon=True, name="processes").start()
    return _number > 1


def _only_device() -> list[int] | None:
    """Of a process that sees one GPU: JAX would number it as the scheduler numbers the processes of the node."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    alone = visible not in ("", "-1", "NoDevFiles") and "," not in visible
    return [0] if alone and "JAX_LOCAL_DEVICE_IDS" not in os.environ else None


def count() -> int:
    """How many processes this program has."""
    return _number


def own() -> int:
    """The number of this one, from 0."""
    return _own


def is_first() -> bool:
    """Whether this is the process that decides, speaks, and writes what is written once."""
    return _own == 0


def tell(word: Any) -> None:
    """Gives every other process a word (JSON): the first one's part of `hear`. Main thread."""
    global _words
    if _number > 1:
        _store().key_value_set(f"{_WORD}{_words}", json.dumps(word))
        _words += 1


def hear() -> Any:
    """The next word of the first process, in the order in which it tells them; waits for it."""
    global _words
    while True:
        with contextlib.suppress(Exception):  # none within the second; the watching thread knows why
            word = _store().blocking_key_value_get(f"{_WORD}{_words}", 1000)
            _words += 1
            return json.loads(word)
        time.sleep(0.01)


def from_first(make) -> Any:
    """make() of the first process (JSON), in every process. It is called there alone."""
    if not is_first():
        return hear()
    value = make()
    tell(value)
    return value


def leave(code: int) -> NoReturn:
    """Ends this process, and with it the program: the others end with the same code within seconds.

    A process but the first that is done (0) waits for the first, whose end it is.
    """
    if code == 0 and not is_first():
        while True:
            time.sleep(_POLL)
    _leaving.set()
    store, until = _store(), time.monotonic() + PATIENCE
    with contextlib.suppress(Exception):  # another was faster, or the store is gone
        store.key_value_set(_END, str(code))
    _mark_left()
    while time.monotonic() < until:
        with contextlib.suppress(Exception):
            if len(store.key_value_dir_get(_LEFT)) >= _number:
                break
        time.sleep(0.05)
    if is_first():
        time.sleep(_POLL)  # the store ends with this process, and whoever still talks to it would be aborted
    _gone(code)


def _mark_left() -> None:
    with contextlib.suppress(Exception):
        _store().key_value_set(f"{_LEFT}{_own}", "")


def is_loss(error: BaseException | None) -> bool:
    """Whether an error is that another process is not there any more: what travels between devices broke off."""
    while error is not None:
        words = ("Gloo", "NCCL", "coordination service", "CoordinationService", "Connection reset by peer")
        if any(word in str(error) for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False


def _watch() -> None:
    """Ends this process once another has said that the program ends."""
    while not _leaving.is_set():
        with contextlib.suppress(Exception):  # the runtime ends us if it does not come back
            code = int(_store().key_value_try_get(_END))
            if _leaving.is_set():
                return
            _mark_left()
            _gone(code)
        time.sleep(_POLL)


def _gone(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)  # no barrier at the exit, which would wait for one that is lost


def _store():
    """The runtime's key-value store; JAX has no public door to it (Orbax takes this one too)."""
    from jax._src import distributed

    return distributed.global_state.client
