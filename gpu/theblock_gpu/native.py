"""The kernels as a library of the host, made by its C++ compiler from the same source as the device's.

An image brings the library ready (`python -m theblock_gpu.native` makes it beside the source); elsewhere it is
compiled at the start, for this machine's processor, into a folder of this process alone. Calls release the
interpreter, so ranges of one task run on several cores.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).parent / "kernels" / "gpu_hash.cu"
READY = SOURCE.parent / "build"
COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-x", "c++", "-std=c++17", "-O3", "-fPIC", "-shared")
COMPILE_SECONDS_MAX = 120.0

_WORDS = ctypes.c_void_p
_RANGE = (ctypes.c_uint64, ctypes.c_uint64)
_KERNELS = {
    "hash_blake3": (*_RANGE, _WORDS, ctypes.c_uint64, _WORDS),
    "hash_sha256": (*_RANGE, _WORDS, ctypes.c_uint64, _WORDS),
    "hash_leaves": (*_RANGE, _WORDS, _WORDS),
    "hash_parents": (*_RANGE, _WORDS, ctypes.c_uint64, _WORDS),
}


class NativeMissing(Exception):
    """There is no library for this machine; the text says why."""


@functools.cache
def load_library() -> ctypes.CDLL:
    """The library, loaded once for the process; raises `NativeMissing`."""
    ready = READY / library_name()
    if ready.exists():
        return _open(ready)
    with tempfile.TemporaryDirectory(prefix="theblock-kernels-") as folder:
        # Once it is loaded, its file is not needed any more.
        return _open(compile_library(Path(folder), ["-march=native"]))


def library_name() -> str:
    """Names the library after its source, so that one of another source is never loaded."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    return f"gpu_hash-{os.uname().machine}-{digest[:16]}.so"


def compile_library(folder: Path, flags: Sequence[str] = ()) -> Path:
    """Make the library in ``folder``; raises `NativeMissing`."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise NativeMissing("no C++ compiler and no library made ahead")
    path = folder / library_name()
    made = path.with_suffix(f".{os.getpid()}")
    command = [compiler, *FLAGS, *flags, str(SOURCE), "-o", str(made)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS_MAX)
    except subprocess.CalledProcessError as failed:
        raise NativeMissing(f"the kernels do not compile: {failed.stderr.decode(errors='replace')[:500]}") from failed
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise NativeMissing(f"the compiler failed: {failed}") from failed
    os.replace(made, path)
    return path


def _open(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
        for name, arguments in _KERNELS.items():
            kernel = getattr(library, name)
            kernel.argtypes, kernel.restype = arguments, None
    except (OSError, AttributeError) as failed:
        raise NativeMissing(f"the library does not load: {failed}") from failed
    return library


if __name__ == "__main__":
    READY.mkdir(exist_ok=True)
    print(compile_library(READY))
