"""Makes, finds and opens the library of the kernels, and picks the back end that this processor can run.

A back end is one compilation of the same source (`gpu/kernels`), so there is one library for each. They are made
ahead, by `python -m theblock_kernels`: never in the middle of a start, which a compiler would delay by minutes on a
busy machine. Where none is there, `load` says so, and callers compute by the exact twin.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi

PACKAGE = Path(__file__).parent
SOURCES = (PACKAGE / "kernels", PACKAGE.parent / "kernels")
"""Beside the modules where the package is installed; beside the package in the repository."""
READY = PACKAGE / "build"
COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread")
BACK_ENDS: dict[str, tuple[str, ...]] = {
    "ifma": ("-march=x86-64-v4", "-mavx512ifma", "-madx", "-mbmi2"),
    "adx": ("-march=x86-64-v3", "-madx", "-mbmi2"),
    "portable": (),
}
"""With their flags, the fastest first; all but the last are for x86-64."""
EMULATED = "emulated"
_FLAGS_OF = {**BACK_ENDS, EMULATED: ("-O1", "-DTB_LANES_EMULATED")}
"""Also the source of `ifma` with its vector instructions written out: to test it by where the processor lacks them."""
COMPILE_SECONDS_MAX = 300.0
THREADS_MAX = 64
_CGROUP_LIMITS = (
    "/sys/fs/cgroup/cpu.max",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us",
)

_DECLARATIONS = """
    const char *tb_back_end(void);
    int tb_is_supported(void);
    void tb_set_threads(int count);
    int tb_field(int field, int operation, const void *left, const void *right, void *out, size_t count);
    int tb_convert(int field, int to, const void *in, void *out, size_t count);
    int tb_g1_msm(const void *points, const void *scalars, size_t count, int window_bits, void *out);
    int tb_g2_msm(const void *points, const void *scalars, size_t count, int window_bits, void *out);
    int tb_g1_multiples(const void *base, const void *scalars, size_t count, void *out);
    int tb_g2_multiples(const void *base, const void *scalars, size_t count, void *out);
    int tb_g2_in_group(const void *points, size_t count, uint8_t *out);
    int tb_transform(int kind, int power, void *values);
    int tb_miller_loop(const void *lefts, const void *rights, size_t count, void *out);
    int tb_final_exponentiation(const void *in, void *out);
    typedef struct ProvingKey ProvingKey;
    ProvingKey *tb_proving_key_new(size_t wires, size_t publics, int power, const void *fixed, const void *coefficients,
        size_t coefficient_count, const void *a, const void *b1, const void *b2, const void *c, const void *h);
    void tb_proving_key_free(ProvingKey *key);
    int tb_rows(const ProvingKey *key, int matrix, const void *witness, void *out);
    int tb_quotient(const ProvingKey *key, const void *witness, void *out);
    int tb_prove(const ProvingKey *key, const void *witness, const void *r, const void *s, void *out);
    typedef struct VerifyingKey VerifyingKey;
    VerifyingKey *tb_verifying_key_new(const void *fixed, const void *ic, size_t ic_count);
    void tb_verifying_key_free(VerifyingKey *key);
    int tb_holds(const VerifyingKey *key, const void *proofs, const void *weights, size_t count, const void *inputs);
    void tb_repeat_mul(int field, size_t count, void *value);
    int tb_repeat_mul_lanes(size_t count, void *value);
    int tb_repeat_transform(int power, size_t count);
    void tb_repeat_add(size_t count, void *point);
"""


class KernelsMissing(Exception):
    """There is no library for this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Library:
    """An open library: calls of ``lib`` give the interpreter to others while they run."""

    back_end: str
    ffi: Any
    lib: Any


@functools.cache
def load() -> Library:
    """The fastest library that this processor can run; raises `KernelsMissing`."""
    for back_end in BACK_ENDS:
        library = open_back_end(back_end, READY)
        if library is not None:
            return library
    raise KernelsMissing("no library of the kernels was made: python -m theblock_kernels")


def open_back_end(back_end: str, folder: Path) -> Library | None:
    """The library of one back end in ``folder``; None if it was not made, or is for another processor."""
    path = folder / library_name(back_end)
    if not path.exists():
        return None
    ffi = cffi.FFI()
    ffi.cdef(_DECLARATIONS)
    try:
        lib = ffi.dlopen(str(path))
        if not lib.tb_is_supported():
            return None
    except (OSError, AttributeError) as failed:
        raise KernelsMissing(f"the library does not load: {failed}") from failed
    lib.tb_set_threads(count_threads())
    return Library(ffi.string(lib.tb_back_end()).decode(), ffi, lib)


def make_all(folder: Path) -> Iterator[Path]:
    """Make the library of every back end of this kind of processor; raises `KernelsMissing` if none can be made."""
    folder.mkdir(parents=True, exist_ok=True)
    for back_end in BACK_ENDS:
        if back_end == "portable" or platform.machine() == "x86_64":
            yield make(back_end, folder)


def make(back_end: str, folder: Path) -> Path:
    """The library of one back end in ``folder``, made unless it is there; raises `KernelsMissing`."""
    path = folder / library_name(back_end)
    if path.exists():
        return path
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise KernelsMissing("no C++ compiler")
    folder.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(f".{os.getpid()}")
    words = [compiler, *FLAGS, *_FLAGS_OF[back_end], f'-DBACK_END="{back_end}"', str(find_source() / "kernels.cpp")]
    try:
        subprocess.run([*words, "-o", str(made)], check=True, capture_output=True, timeout=COMPILE_SECONDS_MAX)
    except subprocess.CalledProcessError as failed:
        raise KernelsMissing(f"the kernels do not compile: {failed.stderr.decode(errors='replace')[:500]}") from failed
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise KernelsMissing(f"the compiler failed: {failed}") from failed
    os.replace(made, path)
    return path


@functools.cache
def library_name(back_end: str) -> str:
    """Names a library after its source, so that one of another source is never opened."""
    digest = hashlib.sha256()
    for path in sorted(find_source().iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(" ".join((*FLAGS, *_FLAGS_OF[back_end])).encode())
    return f"{back_end}-{platform.machine()}-{digest.hexdigest()[:16]}.so"


def count_threads() -> int:
    """As many as this process may use at a time: by affinity, and by the limit of its control group."""
    count = min(len(os.sched_getaffinity(0)), THREADS_MAX)
    limit = read_cpu_limit()
    return count if limit is None else max(1, min(count, limit))


def read_cpu_limit() -> int | None:
    """Whole processors that the control group allows, rounded up; None where it sets no limit."""
    words: list[str] = []
    for path in _CGROUP_LIMITS:
        try:
            words += Path(path).read_text().split()
        except OSError:
            continue
    if len(words) < 2 or not (words[0].isdigit() and words[1].isdigit()):
        return None
    quota, period = int(words[0]), int(words[1])
    return -(-quota // period) if period else None


def find_source() -> Path:
    """The folder of the sources; raises `KernelsMissing`."""
    for folder in SOURCES:
        if folder.is_dir():
            return folder
    raise KernelsMissing("the sources of the kernels are not there")
