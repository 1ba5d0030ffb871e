"""NVRTC alone: it makes kernels for a device with neither a device nor a driver."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

REMOVED_IN_13 = ("sm_70",)
"""Made with the NVRTC of CUDA 12; the others with that of CUDA 13, which is what a prover's image brings."""


@dataclass(frozen=True)
class Compiled:
    image: bytes
    ptx: str
    log: str
    """Why it did not compile; else empty but for what ptxas says."""

    @property
    def registers(self) -> dict[str, int]:
        return {name: int(count) for name, count in self._figures(r"Used (\d+) registers")}

    @property
    def spilled_bytes(self) -> dict[str, int]:
        """The larger of what is stored and what is loaded, by kernel."""
        return {name: max(map(int, found)) for name, *found in self._figures(r"(\d+) bytes spill stores, (\d+) bytes")}

    @property
    def stack_bytes(self) -> int:
        """The most that any function or kernel takes, with what it calls."""
        return max(map(int, re.findall(r"(\d+) bytes (?:cumulative stack|stack frame)", self.log)), default=0)

    def _figures(self, pattern: str) -> Iterator[tuple[str, ...]]:
        name = ""
        for line in self.log.splitlines():
            if begun := re.search(r"Compiling entry function '(\w+)'|Function properties for (\w+)", line):
                name = begun[1] or begun[2]
            if found := re.search(pattern, line):
                yield (name, *found.groups())


def compile_source(
    source: str, architecture: str, options: Sequence[str] = ("-std=c++17",), *, wants_image: bool = True
) -> Compiled:
    """What NVRTC makes of ``source``; skips the test where no NVRTC knows the architecture."""
    nvrtc = _open(12 if architecture in REMOVED_IN_13 else 13)
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None) == 0
    virtual = architecture.replace("sm_", "compute_")
    words = [f"--gpu-architecture={architecture if wants_image else virtual}", *options]
    if wants_image:
        words.append("--ptxas-options=-v")
    arguments = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
    failed = nvrtc.nvrtcCompileProgram(program, len(words), arguments)
    log = _read(nvrtc, program, "ProgramLog").rstrip(b"\0").decode()
    image, ptx = b"", ""
    if not failed:
        log = log or " "
        image = _read(nvrtc, program, "CUBIN") if wants_image else b""
        ptx = _read(nvrtc, program, "PTX").rstrip(b"\0").decode()
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return Compiled(image, ptx, log)


def _read(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    assert getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    text = ctypes.create_string_buffer(size.value)
    assert getattr(nvrtc, f"nvrtcGet{what}")(program, text) == 0
    return text.raw


def _open(major: int) -> ctypes.CDLL:
    found = importlib.util.find_spec("nvidia")
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    libraries = [path for folder in folders for path in folder.glob(f"cu*/lib/libnvrtc.so.{major}")]
    if not libraries:
        pytest.skip(f"the NVRTC of CUDA {major} is not installed")
    return ctypes.CDLL(str(libraries[0]))
