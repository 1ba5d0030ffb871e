"""Devices that fail or lie are quarantined, and come back by a self-check; the CPU does what they give up."""

from __future__ import annotations

import sys

import pytest
from support.devices import FakeCupy, host_engine
from theblock_gpu import backends as module
from theblock_gpu.backends import Backends, Seat, open_backends
from theblock_gpu.config import Config
from theblock_gpu.device import Devices, find_devices
from theblock_gpu.hash import CudaEngine, NativeEngine, PythonEngine, Stopped
from theblock_gpu.metrics import Metrics
from theblock_gpu.native import NativeMissing
from theblock_gpu.telemetry import Signs
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashTask

TASK = HashTask(HashAlgorithm.BLAKE3, b"\x05" * 32, 3, 1001)
CONTEXT = b"\x09" * 33
EXPECTED = gpu_hash.open_output(CONTEXT, gpu_hash.compute_digests(TASK))


class Rig:
    """Back ends over stand-in devices, and a clock that a test moves."""

    def __init__(self, count: int = 1) -> None:
        self.now_ms = 0
        self.cupy = FakeCupy(count)
        devices = [module.Device(index, f"Fake {index}", 1024) for index in range(count)]
        self.seats = [Seat(CudaEngine(self.cupy, device)) for device in devices]
        self.backends = Backends(host_engine(), self.seats, "", lambda: self.now_ms)
        assert self.backends.check().passed

    def run(self) -> str:
        """Compute the task; the back end that did."""
        output, backend = self.backends.run(TASK, CONTEXT, lambda stage, done: None)
        assert (output.root, output.openings) == EXPECTED
        return backend


def test_device_computes_what_the_twin_does():
    rig = Rig()
    rig.cupy.launches.clear()
    assert rig.run() == "cuda" == rig.backends.backend
    names = [name for _, name in rig.cupy.launches]
    assert names == ["hash_blake3", "hash_leaves", *["hash_parents"] * 10]
    assert rig.backends.fallback_reason == ""


def test_three_failures_within_ten_minutes_quarantine_a_device():
    rig = Rig()
    rig.cupy.broken.add(0)
    healths = []
    for _ in range(3):
        assert rig.run() == "native"
        healths.append((rig.seats[0].health.name, rig.seats[0].health.reason))
    assert healths == [("Degraded", ""), ("Degraded", ""), ("Quarantined", "DeviceUnhealthy")]

    launched = len(rig.cupy.launches)
    assert rig.run() == "native" == rig.backends.backend
    assert len(rig.cupy.launches) == launched
    assert "cudaErrorIllegalAddress" in rig.backends.fallback_reason
    assert rig.backends.fallbacks == 3


@pytest.mark.parametrize(("minutes", "state"), [(5, "Healthy"), (4, "Quarantined")])
def test_failures_far_apart_keep_a_device(minutes, state):
    rig = Rig()
    for _ in range(3):
        rig.cupy.broken.add(0)
        rig.run()
        rig.cupy.broken.clear()
        rig.run()
        rig.now_ms += minutes * 60_000
    assert rig.seats[0].health.name == state


def test_wrong_digest_quarantines_at_once_and_never_leaves_the_prover():
    rig = Rig()
    rig.cupy.wrong.add(0)
    assert rig.run() == "native"
    assert (rig.seats[0].health.name, rig.seats[0].health.reason) == ("Quarantined", "SelfCheckFailed")


def test_quarantined_device_comes_back_by_a_self_check_after_one_five_thirty_minutes_and_hourly():
    rig = Rig()
    rig.cupy.wrong.add(0)
    rig.run()
    for wait_s in (60, 300, 1800, 3600, 3600):
        rig.now_ms += wait_s * 1000 - 1
        launched = len(rig.cupy.launches)
        rig.backends.check_due()
        assert len(rig.cupy.launches) == launched
        rig.now_ms += 1
        rig.backends.check_due()
        assert len(rig.cupy.launches) > launched
        assert rig.seats[0].health.name == "Quarantined"
    rig.cupy.wrong.clear()
    rig.now_ms += 3_600_000
    rig.backends.check_due()
    assert (rig.seats[0].health.name, rig.run()) == ("Healthy", "cuda")


def test_one_bad_device_of_two_leaves_the_other_at_work():
    rig = Rig(2)
    rig.cupy.wrong.add(0)
    assert rig.backends.check().passed
    assert [seat.health.name for seat in rig.seats] == ["Quarantined", "Healthy"]
    rig.cupy.launches.clear()
    assert rig.run() == "cuda"
    assert {device for device, _ in rig.cupy.launches} == {1}


def test_busy_devices_leave_the_task_to_the_next():
    rig = Rig(2)
    rig.cupy.launches.clear()
    with rig.seats[0].lock:
        assert rig.run() == "cuda"
        assert {device for device, _ in rig.cupy.launches} == {1}
        with rig.seats[1].lock:
            assert rig.run() == "native"
    assert rig.backends.fallbacks == 0


def test_stopped_task_is_no_failure_of_the_device():
    rig = Rig()

    def stop(stage: str, done_ppm: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        rig.backends.run(TASK, CONTEXT, stop)
    assert rig.seats[0].health.name == "Healthy"
    assert rig.run() == "cuda"


class Wrong(PythonEngine):
    """Computes the digests of another task."""

    name = "native"

    def build(self, task, tell):
        return super().build(HashTask(task.algorithm, task.seed, task.start + 1, task.count), tell)


def test_library_that_computes_wrongly_makes_room_for_the_twin():
    backends = Backends(Wrong(), (), "", lambda: 0)
    checked = backends.check()
    assert checked.passed
    assert checked.digest == checked.expected == module.expected_check()
    assert (backends.backend, backends.fallback_reason) == ("python", "the back end native computes wrongly")


def missing() -> NativeEngine:
    raise NativeMissing("no C++ compiler and no library made ahead")


@pytest.mark.parametrize(
    ("wanted", "has_device", "has_library", "backend", "reason"),
    [
        pytest.param("auto", True, True, "cuda", "", id="the-best"),
        pytest.param("auto", False, True, "native", "no CUDA device", id="no-device"),
        pytest.param("cuda", False, True, "native", "no CUDA device", id="insists-in-vain"),
        pytest.param("native", True, True, "native", "", id="device-not-wanted"),
        pytest.param("auto", False, False, "python", "no CUDA device; no C++ compiler", id="nothing"),
        pytest.param("native", True, False, "python", "no C++ compiler", id="no-compiler"),
        pytest.param("python", True, True, "python", "", id="twin-wanted"),
    ],
)
def test_best_back_end_is_taken_and_the_reason_told(monkeypatch, wanted, has_device, has_library, backend, reason):
    cupy = FakeCupy()
    device = (module.Device(0, "Fake", 1024),)
    found = Devices(cupy, device, "") if has_device else Devices(None, (), "no CUDA device")
    monkeypatch.setattr(module, "find_devices", lambda: found)
    if has_library:
        host_engine()
    else:
        monkeypatch.setattr(module, "NativeEngine", missing)

    opened = open_backends(Config(socket="unused", backend=wanted), Metrics())

    assert opened.backend == backend
    assert opened.fallback_reason.startswith(reason)
    assert bool(opened.fallback_reason) == bool(reason)


def test_host_without_cupy_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    found = find_devices()
    assert (found.devices, found.cupy) == ((), None)
    assert found.reason.startswith("CuPy is not there")


def test_devices_are_described(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy(2))
    assert [(one.index, one.model, one.memory_mib) for one in find_devices().devices] == [
        (0, "Fake 0", 1024),
        (1, "Fake 1", 1024),
    ]


def test_driver_that_is_missing_is_told_of(monkeypatch):
    cupy = FakeCupy()

    def fail() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

    cupy.cuda.runtime.getDeviceCount = fail
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert find_devices().reason == "no CUDA device: cudaErrorInsufficientDriver: CUDA driver version is insufficient"


class Driver:
    """What the driver would say of every device."""

    def __init__(self) -> None:
        self.signs = Signs(2, is_throttled=False)

    def look(self, bus_id: str) -> Signs:
        return self.signs


def test_memory_errors_that_are_new_quarantine_a_device_until_it_passes_a_check():
    rig, driver = Rig(), Driver()
    rig.backends.look(driver)
    assert rig.run() == "cuda"
    driver.signs = Signs(3, is_throttled=False)
    rig.backends.look(driver)
    assert rig.seats[0].condition == ("Quarantined", "DeviceUnhealthy")
    assert rig.run() == "native"
    assert "3 uncorrectable memory errors" in rig.backends.fallback_reason
    rig.now_ms += 60_000
    rig.backends.check_due()
    rig.backends.look(driver)
    assert rig.run() == "cuda"


def test_throttled_device_is_degraded_and_goes_on():
    rig, driver = Rig(), Driver()
    driver.signs = Signs(0, is_throttled=True)
    rig.backends.look(driver)
    assert rig.seats[0].condition == ("Degraded", "Throttled")
    assert rig.run() == "cuda"
    driver.signs = Signs(0, is_throttled=False)
    rig.backends.look(driver)
    assert rig.seats[0].condition == ("Healthy", "")


@pytest.mark.parametrize("has_kernels", [False, True])
def test_devices_prove_where_the_host_has_kernels_too(monkeypatch, has_kernels):
    cupy = FakeCupy(2)
    devices = tuple(module.Device(index, "Fake", 1024) for index in range(2))
    monkeypatch.setattr(module, "find_devices", lambda: Devices(cupy, devices, ""))
    monkeypatch.setattr(module.native, "LIBRARY", object() if has_kernels else None)
    opened = open_backends(Config(socket="unused"), Metrics())
    assert [seat.proofs is not None for seat in opened.seats] == [has_kernels] * 2
