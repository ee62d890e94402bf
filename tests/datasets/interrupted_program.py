"""Prepares one tiny set again and again under what can go wrong; prints what came of it as JSON.

A program of its own, since it forks: modules are loaded once, and no thread runs yet. Arguments: source, work folder.
"""

import functools
import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import tensorflow_datasets  # noqa: F401 (loaded before forking)
from array_record.python import array_record_module  # noqa: F401
from small_films import OPTIONS

import mammojax.datasets.builders.folder  # noqa: F401
from mammojax.datasets import shards
from mammojax.datasets.prepare import prepare
from mammojax.errors import UserError
from mammojax.runs import stages

SOURCE, WORK = Path(sys.argv[1]), Path(sys.argv[2])
shards._LEAST = 1  # every record is a shard


def start(to: str, *, before=lambda: None) -> int:
    """Process number of a child that prepares SOURCE into WORK/to and writes what it says and finds beside it."""
    child = os.fork()
    if child:
        return child
    lines, code = [], 70
    try:
        before()
        records = prepare("folder", SOURCE, WORK / to, labels="label", options=OPTIONS, say=lines.append)
        facts = [
            [r.record, r.label, r.sha256, int(records.image(i).sum())] for i, r in enumerate(records.records)
        ]
        result = {
            "facts": facts,
            "patients": records.patients.tolist(),
            "hashes": [r.patient for r in records.records],
        }
        code = 0
    except UserError as error:
        result, code = {"error": str(error)}, 2
    except BaseException as error:
        result = {"traceback": repr(error)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (WORK / f"{to}.{os.getpid()}.json").write_text(json.dumps({**result, "lines": lines, "code": code}))
    os._exit(code)


def end(child: int, to: str) -> dict | None:
    """What the child found, None if it was killed."""
    _, status = os.waitpid(child, 0)
    path = WORK / f"{to}.{child}.json"
    return None if os.WIFSIGNALED(status) else json.loads(path.read_text())


def killed() -> dict:
    """Killed at random moments; before the first, second, ... file that a start makes; while its scratch is removed."""
    began = time.monotonic()
    end(start("undisturbed"), "undisturbed")
    whole, moments, found = time.monotonic() - began, random.Random(0), {}
    for kills in range(9):
        child = start("random")
        if kills < 8:
            time.sleep(moments.uniform(0, 0.6) * whole)
            os.kill(child, signal.SIGKILL)
        found["random"] = end(child, "random")

    def dies_before(number):
        real, done = os.replace, []

        def replace(*paths):
            if len(done) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(real(*paths))

        os.replace = replace

    starts = 0
    while found.get("stepwise") is None and starts < 30:
        found["stepwise"] = end(start("stepwise", before=functools.partial(dies_before, starts)), "stepwise")
        starts += 1

    def dies_removing():
        def remove(path, **_):
            next(path.iterdir()).unlink()
            os.kill(os.getpid(), signal.SIGKILL)

        stages.shutil.rmtree = remove

    first = end(start("removing", before=dies_removing), "removing")
    return {"starts": starts, "found": found, "first": first, "after": end(start("removing"), "removing")}


def full_disk() -> dict:
    def limit(size):
        # only the soft limit, so that the child can tell what it found
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    sizes = (100, 1500, 4000, 40_000, 100_000)
    return {
        "errors": [end(start("full", before=limit(size)), "full") for size in sizes],
        "after": end(start("full"), "full"),
    }


def together() -> list:
    children = [start("together") for _ in range(3)]
    return [end(child, "together") for child in children]


print(
    json.dumps(
        {
            "reference": end(start("reference"), "reference"),
            "killed": killed(),
            "full_disk": full_disk(),
            "together": together(),
        }
    )
)
