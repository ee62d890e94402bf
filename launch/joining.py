"""Flags by which the processes of one program find each other, and what a launcher does with them at its edge.

Without flags it is JAX that finds them: under srun with several tasks, Open MPI, on the hosts of a TPU slice, in a
Kubernetes Indexed Job with a headless service. Jobs of their own (the elements of an array, shells) are programs of their
own: they share work by lock and are never joined.
"""

import importlib.util
import os
import sys

from absl import flags

flags.disclaim_key_flags()  # they are the launcher's

_FLAGS = None


def define_flags() -> None:
    """The flags of a launcher whose processes may be one program."""
    global _FLAGS
    _FLAGS = {
        "coordinator": flags.DEFINE_string(
            "coordinator",
            "",
            "HOST:PORT of the first of several processes of one program; empty: as JAX finds it",
        ),
        "processes": flags.DEFINE_integer("processes", 0, "how many they are", lower_bound=0),
        "process": flags.DEFINE_integer("process", -1, "which of them this one is, from 0", lower_bound=-1),
        "alone": flags.DEFINE_bool(
            "alone",
            False,
            "join nothing: the processes of a job share work by lock, each a program of its own",
        ),
        "lost_after": flags.DEFINE_integer(
            "lost_after", 60, "seconds without a sign of life after which a process is lost", lower_bound=1
        ),
    }


def is_wanted() -> bool:
    """Whether this process may be one of several of a program. UserError for flags that are no set."""
    from mammojax.errors import UserError

    if _FLAGS is None:
        return False
    coordinator, number, own, alone = (
        _FLAGS[name].value for name in ("coordinator", "processes", "process", "alone")
    )
    given = [bool(coordinator), number > 0, own >= 0]
    if any(given):
        if alone:
            raise UserError("--alone joins nothing; give it, or --coordinator, --processes and --process")
        if not all(given) or ":" not in coordinator or own >= number:
            raise UserError(
                f"--coordinator={coordinator} --processes={number} --process={own}: expected HOST:PORT of the first "
                f"process, how many there are, and a number from 0 to one less; give all three"
            )
        return number > 1
    return not alone and _is_cluster(os.environ)


def _is_cluster(environment) -> bool:
    """Whether JAX has anything to look at: a laptop does not load it for that, nor does a job of one task."""
    for several in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"):
        if environment.get(several, "1") != "1":
            return True
    in_job = {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environment.keys()
    if in_job and importlib.util.find_spec("kubernetes") is not None:
        return True
    return importlib.util.find_spec("libtpu") is not None and environment.get("JAX_PLATFORMS") != "cpu"


def supervise() -> None:
    """Returns in a child of this process; see `supervised`. Before anything has a thread."""
    from mammojax.runs.supervised import supervised

    supervised(
        say=lambda line: print(
            f"error: {line}; the same command goes on where it was", file=sys.stderr, flush=True
        )
    )


def join() -> None:
    """Joins the others, if there are any. UserError if they do not find each other."""
    from mammojax.errors import UserError
    from mammojax.runs import processes

    joined = processes.join(
        _FLAGS["coordinator"].value,
        _FLAGS["processes"].value,
        _FLAGS["process"].value,
        lost_after=_FLAGS["lost_after"].value,
    )
    started = os.environ.get("OMPI_COMM_WORLD_SIZE", "1")
    if not joined and started != "1":
        raise UserError(
            f"mpirun started {started} processes, and JAX does not find the first of them, as with Open MPI 5; give "
            "--coordinator=HOST:PORT --processes=$OMPI_COMM_WORLD_SIZE --process=$OMPI_COMM_WORLD_RANK, or --alone"
        )
