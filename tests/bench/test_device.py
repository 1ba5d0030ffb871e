"""The bench of proofs on a device runs to its end over the stand-in, and says so where there is no device."""

from __future__ import annotations

import pytest
from support.cuda import HostCupy
from theblock_gpu.device import Device, Devices
from theblock_node.core.proofs import native

from bench import device as bench


@pytest.mark.skipif(native.LIBRARY is None, reason="no library of the kernels")
def test_every_figure_is_measured_where_there_is_a_device(monkeypatch):
    cupy = HostCupy()
    monkeypatch.setattr(bench, "find_devices", lambda: Devices(cupy, (Device(0, "Fake 0", 1024),), ""))
    for name, value in (("MSM_POWER", 8), ("PROOF_POWERS", (6,)), ("DISTINCT", 32), ("THREADS", 256), ("PRODUCTS", 9)):
        monkeypatch.setattr(bench, name, value)

    figures = list(bench.run())

    assert [figure.name for figure in figures] == [
        "device.field_mul",
        "device.msm_2^22",
        "device.msm_2^22.share_of_field_mul",
        "device.prove_2^6.cold",
        "device.prove_2^6.warm",
    ]
    assert all(figure.value and figure.value > 0 for figure in figures)
    assert bench.describe() == "Fake 0, 1024 MiB, 0 MHz, CUDA 13.1"


def test_without_a_device_nothing_is_measured_and_each_figure_says_why(monkeypatch):
    monkeypatch.setattr(bench, "find_devices", lambda: Devices(None, (), "no CUDA device"))
    figures = list(bench.run())
    assert len(figures) == len(bench.NAMES) == 7
    assert all(figure.value is None for figure in figures)
    if native.LIBRARY is not None:
        assert {figure.note for figure in figures} == {"not run on a device: no CUDA device"}
    assert bench.describe() == "not run on a device: no CUDA device"
