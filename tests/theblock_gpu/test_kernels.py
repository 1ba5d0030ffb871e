"""The kernels compile for every architecture that we ship for, by NVRTC alone: no driver, no device."""

from __future__ import annotations

import pytest
from support.nvrtc import compile_source
from theblock_gpu import native

ARCHITECTURES = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100")
KERNELS = ("hash_blake3", "hash_sha256", "hash_leaves", "hash_parents")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_compile_without_spilling(architecture):
    compiled = compile_source(native.SOURCE.read_text(), architecture)

    assert compiled.image[:4] == b"\x7fELF", compiled.log
    assert all(kernel.encode() in compiled.image for kernel in KERNELS)
    assert {kernel: compiled.spilled_bytes[kernel] for kernel in KERNELS} == dict.fromkeys(KERNELS, 0)


def test_fault_in_a_kernel_is_found():
    compiled = compile_source(native.SOURCE.read_text().replace("chain[8];", "chain[8]", 1), "sm_90")
    assert not compiled.image
    assert "error" in compiled.log
