"""The kernels as one text, for a compiler that knows no files: NVRTC, which makes them for a device.

Headers of ours are put where they are included, headers of the host are left out; the types that they would bring are
named first.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from theblock_kernels.library import find_source

MAIN = "device.cu"
OPTIONS = ("-std=c++17", "-default-device")
"""Of NVRTC, beside the architecture."""
_INCLUDE = re.compile(r'^#include\s+(?:"(?P<ours>[\w.]+)"|<[\w.]+>)$', re.MULTILINE)
_KERNEL = re.compile(r"^\s*KERNEL\((\d+)\) (\w+)\(([^)]*)\)", re.MULTILINE)
_TEMPLATE = re.compile(r"#define KERNELS_OF\(GROUP, F\)((?:.*\\\n)+.*\n)")
_GROUPS = re.compile(r"^KERNELS_OF\((\w+), (\w+)\)$", re.MULTILINE)
_TYPES = """\
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    threads: int
    """Of a block."""
    arguments: tuple[str, ...]
    """The types of its arguments, as the source has them."""


@functools.cache
def source() -> str:
    """The whole text; raises `KernelsMissing`."""
    return _TYPES + _expand(find_source() / MAIN, set())


@functools.cache
def kernels() -> dict[str, Kernel]:
    """What there is to launch, by name."""
    return {
        name: Kernel(int(threads), tuple(re.sub(r"\s*\w+$", "", each.strip()) for each in arguments.split(",")))
        for threads, name, arguments in _KERNEL.findall(_instantiate(source()))
    }


def _instantiate(text: str) -> str:
    """With the kernels of both groups, which the source has once."""
    body = _TEMPLATE.search(text)
    assert body is not None, "the source has kernels of each group"
    plain = body[1].replace("\\\n", "\n")
    made = [plain.replace("##GROUP", group).replace("<F>", f"<{of}>") for group, of in _GROUPS.findall(text)]
    return _TEMPLATE.sub("", text) + "".join(made)


def _expand(path: Path, seen: set[str]) -> str:
    seen.add(path.name)

    def put(found: re.Match[str]) -> str:
        name = found["ours"]
        return "" if name is None or name in seen else _expand(path.parent / name, seen)

    return _INCLUDE.sub(put, path.read_text().replace("#pragma once\n", ""))
