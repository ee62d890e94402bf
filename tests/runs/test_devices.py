"""What a device's programs take of the process."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from mammojax.runs.devices import room_for_programs


def maps() -> int:
    return Path("/proc/self/maps").read_bytes().count(b"\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory maps")
def test_programs_are_dropped_before_memory_maps_run_out():
    assert not room_for_programs(), "a few programs are no reason"
    program = jax.jit(lambda x: jnp.sin(x) @ x.T + jnp.cumsum(x, 0).sum())
    for rows in (3, 4, 5):
        program(jnp.ones((rows, 5)))
    before = maps()
    assert room_for_programs(share=0.0)
    assert maps() < before and program._cache_size() == 0
    assert program(jnp.ones((3, 5))).shape == (3, 3)  # compiled again
