"""A wheel of the project brings its kernels ready where there is a C++ compiler, and says so where there is none."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from theblock_kernels import library

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path, path: str) -> tuple[str, list[str]]:
    """(what was said, names in the wheel) of a build whose programs are looked for in ``path``."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=True, env={"PATH": path},
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return done.stdout + done.stderr, [wheel.name, *opened.namelist()]


@pytest.mark.timeout(320)
def test_a_wheel_brings_every_library_that_its_own_source_names(tmp_path):
    _, names = build(tmp_path, "/usr/local/bin:/usr/bin:/bin")

    assert {f"theblock_kernels/build/{library.library_name(one)}" for one in library.BACK_ENDS} <= set(names)
    assert "none-any" not in names[0]


def test_without_a_compiler_the_wheel_is_for_any_machine_and_says_what_it_lacks(tmp_path):
    said, names = build(tmp_path, str(tmp_path))

    assert "no native kernels in this wheel" in said
    assert "none-any" in names[0]
    assert not [name for name in names if name.endswith(".so")]
