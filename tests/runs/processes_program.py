"""What several processes do to one folder, with SIGKILL at random moments: `python processes_program.py CASE FOLDER`.

A program of its own that forks: processes cost a millisecond so, and the test's own process has threads. It ends with an
assertion error where the case does not hold.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from mammojax.runs import locks, share, stages
from mammojax.runs.environment import record_settings
from mammojax.runs.files import read_json, write_json, writing

RANDOM = random.Random(int.from_bytes(os.urandom(4), "little"))


def quiet(line):
    pass


def started(work):
    """Process number of a fork that runs work() and ends with 0 if it returned."""
    process = os.fork()
    if process:
        return process
    try:
        work()
        os._exit(0)
    finally:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def ended(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def forty_starters(folder):
    """All forty get the stage; it was made once."""

    def start():
        def make(place):
            with (folder / "calls").open("a") as calls:
                calls.write("x")
            time.sleep(0.05)
            with writing(place / "salt") as file:
                file.write(os.urandom(16))
            return {}

        path = stages.made(folder, "0123", make, what="salt", say=quiet)
        record_settings(folder, {"value": os.getpid() % 3})
        (folder / f"seen-{os.getpid()}").write_bytes((path / "salt").read_bytes())

    assert [ended(p) for p in [started(start) for _ in range(40)]] == [0] * 40
    assert (folder / "calls").read_text() == "x"
    assert len({p.read_bytes() for p in folder.glob("seen-*")}) == 1
    records = [read_json(p)["value"] for p in [folder / "config.json", *folder.glob("config.was-*.json")]]
    assert sorted(records) in (
        [0, 1, 2],
        [0, 0, 1, 2],
        [0, 1, 1, 2],
        [0, 1, 2, 2],
    )  # none lost, the last twice
    assert not list(folder.rglob(".*")), "locks or partial files are left"


def killed_holders(folder):
    """Never two inside, and whoever waits goes on when the holder is killed."""
    inside, count = folder / "inside", folder / "count"

    def work():
        mine = random.Random(os.getpid())
        while True:
            with locks.locked(folder / "thing", what="thing", say=quiet):
                inside.write_text(str(os.getpid()))
                time.sleep(mine.random() * 0.004)
                if inside.read_text() != str(os.getpid()):
                    (folder / "violated").touch()
                with count.open("a") as file:
                    file.write("x")

    workers = [started(work) for _ in range(6)]
    for _ in range(60):
        time.sleep(RANDOM.random() * 0.02)
        number = RANDOM.randrange(len(workers))
        os.kill(workers[number], signal.SIGKILL)
        ended(workers[number])
        workers[number] = started(work)
    before, until = count.stat().st_size, time.monotonic() + 1800
    while count.stat().st_size < before + 20:
        assert time.monotonic() < until, "nobody goes on"
        time.sleep(0.01)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        ended(worker)
    assert not (folder / "violated").exists()


def forked_child(folder):
    """A child that outlives the holder does not keep its lock."""
    read, write = os.pipe()

    def outlives():
        os.write(write, b"%d" % os.getpid())
        time.sleep(600)

    def holds():
        with locks.locked(folder / "thing", what="thing", say=quiet):
            started(outlives)
            time.sleep(600)

    holder = started(holds)
    child = int(os.read(read, 20))
    with locks.try_locked(folder / "thing") as mine:
        assert not mine
    assert locks.holder(folder / "thing").startswith(f"process {holder} on ")
    os.kill(holder, signal.SIGKILL)
    ended(holder)
    with locks.try_locked(folder / "thing") as mine:
        os.kill(child, signal.SIGKILL)
        assert mine


def three_stages(folder):
    """Three stages in turn, each from the one before, in steps that leave scratch and whole files behind."""
    before = b"start"
    for number in range(3):

        def make(place, number=number, before=before):
            for step in range(6):
                scratch, kept = place / stages.WORK / str(step), place / "parts" / f"{step}.bin"
                if not kept.is_file():
                    with writing(scratch) as file:
                        file.write(bytes([step]) * 1000)
                    with writing(kept) as file:
                        file.write(before + scratch.read_bytes())
            return {"number": number}

        stage_key = stages.key(number=number, before=before.hex())
        place = stages.made(folder, stage_key, make, what=f"stage {number}", say=quiet)
        before = stages.verified(place, "parts/5.bin").read_bytes()[-2000:] + bytes([number])
    write_json(folder / "result.json", before.hex())


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def killed_stages(folder):
    """Whenever it is killed, the same start goes on, to the bytes of an undisturbed run and nothing else."""
    start = time.monotonic()
    three_stages(folder / "whole")
    took = time.monotonic() - start
    kills = 0
    while True:
        process = started(lambda: three_stages(folder / "cut"))
        time.sleep(RANDOM.random() * took * (0.15 if kills < 60 else 20))
        os.kill(process, signal.SIGKILL)
        code = ended(process)
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            break
        kills += 1
    three_stages(folder / "cut")  # a further start tidies what the last kill left
    whole, cut = contents(folder / "whole"), contents(folder / "cut")
    cut = {name: data for name, data in cut.items() if not Path(name).name.endswith((".partial", ".lock"))}
    assert whole == cut, sorted(set(whole) ^ set(cut))
    assert kills >= 3, kills


def shared_pieces(folder):
    """Three processes, nine pieces: each gets all results; the piece of a process that was killed is made by another."""

    def work():
        def piece(number):
            def make(place):
                calls = folder / f"calls-{number}"
                with calls.open("a") as file:
                    file.write(f"{os.getpid()}\n")
                if number == 0 and len(calls.read_text().split()) == 1:
                    time.sleep(600)  # is killed here
                write_json(place / "value.json", number)
                return {}

            def attempt():
                return stages.made(folder, f"{number:04}", make, what="piece", say=quiet, wait=False)

            return share.Piece(folder / f"{number:04}", f"piece {number}", attempt)

        said = []
        found = share.shared([piece(n) for n in range(9)], say=said.append, pause=0.01)
        assert [read_json(path / "value.json") for path in found] == list(range(9))
        assert len(said) == len(set(said)) and any(
            line.startswith("piece 0 is being made by") for line in said
        )

    processes = [started(work) for _ in range(3)]
    makers = [folder / f"calls-{n}" for n in range(9)]
    until = time.monotonic() + 1800
    while not all(path.exists() for path in makers):  # the others go on while the first is at its piece
        assert time.monotonic() < until
        time.sleep(0.01)
    victim = int(makers[0].read_text())
    os.kill(victim, signal.SIGKILL)
    assert sorted(ended(p) for p in processes) == [-signal.SIGKILL, 0, 0]
    assert [len(path.read_text().split()) for path in makers] == [2] + [1] * 8


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
