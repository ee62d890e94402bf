"""A file that kills its decoder costs that file alone."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammojax.images.reading.crops import read_crop, read_crops
from mammojax.images.reading.isolated import CRASHED, in_children


def test_files_after_one_that_kills_the_process_are_read_in_order(tmp_path, monkeypatch):
    rows, columns = np.mgrid[:200, :150]
    breast = np.where((rows - 100) ** 2 / 80**2 + columns**2 / 100**2 < 1, 200 - rows // 4, 3).astype(
        np.uint8
    )
    paths = []
    for k in range(5):
        paths.append(tmp_path / f"{'deadly' if k in (1, 2) else 'good'}{k}.png")
        Image.fromarray(breast + k).save(paths[-1])
    (tmp_path / "sitecustomize.py").write_text(  # the child dies as a decoder's SIGABRT kills it
        "import sys, os, importlib.abc, importlib.util\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name != 'mammojax.images.reading.crops': return None\n"
        "        sys.meta_path.remove(self)\n"
        "        import mammojax.images.reading.any_file as reading\n"
        "        real = reading.read_mammogram\n"
        "        def read(data, name, **options):\n"
        "            if 'deadly' in name: os.abort()\n"
        "            return real(data, name, **options)\n"
        "        reading.read_mammogram = read\n"
        "        return importlib.util.find_spec('mammojax.images.reading.crops')\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.getcwd()}")
    found = list(read_crops(paths, margin=0.02, for_processing="log"))
    assert [isinstance(f, str) and f for f in found] == [False, CRASHED, CRASHED, False, False]
    assert [int(f[0].pixels.min()) for f in found if not isinstance(f, str)] == [3, 6, 7]


def test_a_file_that_is_absent_or_no_picture_gets_its_reason(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    absent, text = (read_crop(tmp_path / n, 0.02, "log") for n in ("none.png", "text.png"))
    assert absent == "cannot be read: No such file or directory" and isinstance(text, str)


def test_each_job_has_one_result_and_the_one_that_kills_its_process_costs_itself_alone():
    codes = ["1 + 1", "__import__('os').abort()", "'a' * 3", "2**9"]
    found = dict(in_children(eval, ((code,) for code in codes), workers=2))
    assert found == {0: 2, 1: CRASHED, 2: "aaa", 3: 512}


def test_jobs_are_taken_as_they_are_needed():
    taken = []
    results = in_children(math.sqrt, ((taken.append(k) or k,) for k in range(100)), workers=2)
    assert next(results)[1] in (0, 1) and len(taken) <= 3
    results.close()


def test_an_exception_of_the_function_is_raised_with_the_traceback_of_the_child():
    with pytest.raises(ZeroDivisionError) as caught:
        list(in_children(divmod, [(1, 0)], workers=1))
    assert "in a child process" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="workers is 0"):
        list(in_children(divmod, [], workers=0))


def test_children_that_cannot_start_are_an_error_and_no_crashed_files(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(RuntimeError, match="before it took work"):
        list(in_children(math.sqrt, [(1,)], workers=1))


_BUSY = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
from mammojax.images.reading.isolated import in_children
jobs = [("__import__('os').getpid()",)] * 2 + [("__import__('time').sleep(600)",)] * 2
for number, found in in_children(eval, jobs, workers=2):
    print(found, flush=True)
"""


def _alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def _ended(processes: list[int]) -> bool:
    """Whether all of them end; the time is far beyond what it takes, so that a busy machine does not matter."""
    for _ in range(1200):
        if not any(map(_alive, processes)):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_end_with_their_parent_and_hold_none_of_its_pipes(how):
    parent = subprocess.Popen(
        [sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    children = [int(parent.stdout.readline()) for _ in range(2)]
    for child in children:
        for descriptor in (0, 1, 2):
            assert "pipe" not in os.readlink(f"/proc/{child}/fd/{descriptor}")
    parent.send_signal(how)
    parent.stdout.read()  # ends when nobody holds the pipe
    parent.wait()
    assert _ended(children)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_without_help_of_the_kernel_children_end_too():  # which is not asked where a thread starts them
    program = _BUSY.replace("signal, time", "signal, threading").replace("\nfor", "\ndef run():\n  for", 1)
    program = program.replace("    print", "      print") + "threading.Thread(target=run).start()\n"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    children = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    assert _ended(children)


def test_a_signal_to_the_whole_group_costs_no_file():
    """Schedulers and terminals send SIGTERM and SIGINT to children too: a file must not count as damaged by it."""
    code = "[__import__('os').kill(__import__('os').getpid(), s) for s in (2, 15)] and 7"
    assert list(in_children(eval, [(code,)], workers=1)) == [(0, 7)]
