"""Where models run, found out without importing torch: a stored answer must not pay for the import."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Literal

Device = Literal["cuda", "mps", "cpu"]
Precision = Literal["fp32", "fp16"]


@cache
def best_device() -> Device:
    """cuda where torch is built for it and the driver shows a GPU, mps on Apple silicon, else cpu."""
    if _torch_has_cuda() and _gpu_count() > 0:
        return "cuda"
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return "mps" if apple and importlib.util.find_spec("torch") is not None else "cpu"


def precision_of(device: Device) -> Precision:
    """Half precision on a GPU; single on a CPU, where half is slower, and on mps, where it overflows."""
    return "fp16" if device == "cuda" else "fp32"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch or Python says that memory ran out, on whichever device."""
    text = str(error).casefold()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


_THREADS = RLock()


@contextmanager
def steady_threads(bucket: int) -> Iterator[None]:
    """Run torch on the most CPU threads among which a batch of this size divides evenly, by powers of two.

    Only so do kernels treat every place of a batch alike: with a remainder, pixels were measured to change
    by up to 2e-6 with an image's place in its batch (1 to 16 threads, batches of 2 to 8). A batch of one may
    use all threads. One caller at a time: the setting is the process's.
    """
    import torch

    with _THREADS:
        before = torch.get_num_threads()
        even = max(count for count in (1, 2, 4, 8, 16, 32) if count <= before and bucket % count == 0)
        wanted = before if bucket == 1 else even
        if wanted == before:
            yield
            return
        torch.set_num_threads(wanted)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _torch_has_cuda() -> bool:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    version = Path(spec.origin).with_name("version.py")
    return version.is_file() and re.search(r"^cuda.*=\s*'", version.read_text(), re.MULTILINE) is not None


def _gpu_count() -> int:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return 0
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0
