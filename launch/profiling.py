"""The flag --profile=START:STOP."""

import re

from absl import flags

from mammojax.errors import UserError

flags.disclaim_key_flags()  # it is the launcher's


def define_flag():
    """Of a launcher that trains."""
    return flags.DEFINE_string(
        "profile",
        "",
        "START:STOP, optimiser steps of this process that JAX's profiler records, into RUN/profiles (TensorBoard, XProf)",
    )


def steps(text: str) -> tuple[int, int] | None:
    """(first, last) of `START:STOP`, None for no profile."""
    if not text:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise UserError(
            f"--profile={text}: expected START:STOP, two numbers of steps that grow, such as 10:20"
        )
    return int(match[1]), int(match[2])
