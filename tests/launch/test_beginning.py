"""A launcher asks for large pages once, by starting again, and nobody else does."""

import os
import sys
from types import SimpleNamespace

import pytest

from launch import beginning


@pytest.fixture
def started(monkeypatch, tmp_path):
    """(call ask() as a program of that name with a kernel's mode, what was started anew)"""
    found = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: found.append((path, arguments)))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "launch.plan", "--np=4"])
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)

    def ask(name, mode):
        spec = name and SimpleNamespace(name=name)
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec))
        (tmp_path / "enabled").write_text(mode)
        beginning.ask_for_large_pages(tmp_path / "enabled")
        return found

    return ask


def test_a_launcher_starts_again_once_with_its_own_arguments(started, monkeypatch):
    again = (sys.executable, [sys.executable, "-X", "dev", "-m", "launch.plan", "--np=4"])
    assert started("launch.plan", "always [madvise] never\n") == [again]
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    assert started("launch.plan", "always [madvise] never\n") == [again]  # what is set is left
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    assert started("launch.plan", "always [madvise] never\n") == [again]


@pytest.mark.parametrize("name", [None, "pytest.__main__", "launcher.plan"])
def test_what_is_no_launcher_goes_on(started, name):
    assert started(name, "always [madvise] never\n") == []


def test_a_child_that_runs_a_launcher_goes_on(started, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "from multiprocessing.forkserver import main"])
    assert started("launch.plan", "always [madvise] never\n") == []


@pytest.mark.parametrize("mode", ["[always] madvise never\n", "always madvise [never]\n"])
def test_where_asking_changes_nothing_nothing_is_started(started, mode):
    assert started("launch.plan", mode) == []


def test_without_such_a_kernel_nothing_is_started(started, tmp_path):
    started("launch.plan", "always madvise [never]\n")  # a launcher it is
    beginning.ask_for_large_pages(tmp_path / "absent")
    assert "GLIBC_TUNABLES" not in os.environ
