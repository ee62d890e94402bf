"""What a device's programs take of the process."""

import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from mammojax.errors import UserError
from mammojax.runs.devices import _own_devices, room_for_programs


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


def test_processes_with_different_numbers_of_devices_take_as_many_each(monkeypatch):
    """Each makes the mesh by itself: with another size it would wait for what never comes."""
    everyone = [SimpleNamespace(process_index=k, platform="cpu") for k in (0, 0, 0, 0, 1, 1)]
    monkeypatch.setattr(jax, "devices", lambda: everyone)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    for process in (0, 1):
        own = [device for device in everyone if device.process_index == process]
        monkeypatch.setattr(jax, "local_devices", lambda own=own: own)
        assert _own_devices(0, 1)[1:] == (2, 1)
        assert _own_devices(0, 2)[1:] == (1, 2)
        with pytest.raises(UserError, match="each of 2 processes has 2 device"):
            _own_devices(8, 1)
