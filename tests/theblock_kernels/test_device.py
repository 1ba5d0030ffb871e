"""The kernels of proofs compile for every architecture that we ship for, by NVRTC alone: no driver, no device.

That takes half a minute of a core, so it is a step of `make check` and not of every run of the tests.
"""

from __future__ import annotations

import re

import pytest
from support.nvrtc import compile_source
from theblock_kernels import device, library

ARCHITECTURES = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100")
REGISTERS_MAX = {128: 255, 256: 64}
"""By the threads of a block; with 64 registers, four blocks of 256 threads fit a multiprocessor."""
SPILLED_BYTES_MAX = {128: 64, 256: 0}
STACK_BYTES_MAX = 1100
"""Of a thread; a device sets it aside for as many threads as it can hold."""


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_compile_and_keep_to_their_registers(architecture):
    compiled = compile_source(device.source(), architecture, device.OPTIONS)

    assert compiled.image[:4] == b"\x7fELF", compiled.log
    registers, spilled = compiled.registers, compiled.spilled_bytes
    for name, kernel in device.kernels().items():
        assert 0 < registers[name] <= REGISTERS_MAX[kernel.threads], name
        assert spilled[name] <= SPILLED_BYTES_MAX[kernel.threads], name
    assert 0 < compiled.stack_bytes <= STACK_BYTES_MAX


def test_every_entry_is_known_with_its_arguments():
    compiled = compile_source(device.source(), "sm_90", device.OPTIONS, wants_image=False)
    found = dict(re.findall(r"\.entry (\w+)\(([^)]*)\)", compiled.ptx))
    assert found.keys() == device.kernels().keys()
    for name, kernel in device.kernels().items():
        kinds = re.findall(r"\.param \.(u\d+)", found[name])
        assert kinds == ["u32" if kind == "u32" else "u64" for kind in kernel.arguments], name
        threads = re.search(rf"\.entry {name}\([^)]*\)\s*\.maxntid (\d+)", compiled.ptx)
        assert threads is not None
        assert int(threads[1]) == kernel.threads


def test_fault_in_a_kernel_is_found():
    compiled = compile_source(device.source().replace("limbs_mul<M>(", "limbs_mul<M>((", 1), "sm_90", device.OPTIONS)
    assert not compiled.image
    assert "error" in compiled.log


def test_text_needs_no_files():
    text = device.source()
    assert "#include" not in text
    assert text.count("struct FpModulus") == text.count("struct Xyzz") == 1


def test_text_is_missing_where_the_sources_are(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "SOURCES", (tmp_path / "none",))
    device.source.cache_clear()
    with pytest.raises(library.KernelsMissing):
        device.source()
    monkeypatch.undo()
    assert device.source()
