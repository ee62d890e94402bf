"""Where the compilers for accelerators lie that are not here; JAX has to be told before it is imported."""

import contextlib
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from mammojax.errors import UserError


def find_compiler(gpu: bool) -> None:
    """Points JAX to libtpu's compiler, or to CUDA's. UserError without its packages."""
    os.environ["JAX_PLATFORMS"] = "cpu"  # of what is computed here
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # what is kept cannot be read without the device
    if not gpu:
        folder = _folder("libtpu")
        if folder is None:
            raise UserError("the package libtpu is absent; pip install libtpu (700 MB; no TPU is needed)")
        os.environ.setdefault("TPU_LIBRARY_PATH", str(folder / "libtpu.so"))
        os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
        os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # its lock guards a TPU, and none is opened
        return
    cuda = _folder("nvidia.cuda_nvcc")
    if _folder("jax_plugins.xla_cuda12") is None or cuda is None:
        raise UserError(
            "the CUDA compiler is absent; pip install --no-deps jax-cuda12-plugin jax-cuda12-pjrt nvidia-cuda-nvcc-cu12, "
            "the first two in the version of jax (no GPU is needed)"
        )
    logging.getLogger("jax._src.xla_bridge").setLevel(
        logging.CRITICAL
    )  # pages on the driver that is not here
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["PATH"] = f"{cuda / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    # what is chosen by trial on a device cannot be
    tried = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"
    given = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{given} {tried} --xla_gpu_cuda_data_dir={cuda}"


@contextlib.contextmanager
def limited(minutes: float, name: str) -> Iterator[None]:
    """Ends this process with a line, and code 2, where what is within takes longer: nothing interrupts a compiler.
    minutes: 0 for no limit."""

    def end():
        text = (
            f"error: {name}: not compiled after {minutes:g} minutes; give it more (--minutes), less of the compiler's "
            "effort (--effort=-1), a smaller --crop, or --precision=bfloat16\n"
        )
        sys.stderr.write(text)
        sys.stderr.flush()
        os._exit(2)

    watch = threading.Timer(60 * minutes, end)
    watch.daemon = True
    if minutes:
        watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _folder(package: str) -> Path | None:
    """Where an installed package lies."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return None
    places = None if spec is None else spec.submodule_search_locations
    return Path(next(iter(places))) if places else None
