"""JavaScript that we did not write, as `tests/interop/package-lock.json` pins it: run as tools, never shipped."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INTEROP = ROOT / "tests" / "interop"
INSTALL_SECONDS_MAX = 300


def install() -> Path:
    """The folder under build/ with the `node_modules`, installed by the first who asks; skips where npm is missing."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (tools/system.sh installs it)")
    folder = ROOT / "build" / "interop"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pinned = (INTEROP / "package-lock.json").read_bytes()
        done = folder / "installed-lock.json"
        if not done.exists() or done.read_bytes() != pinned:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(INTEROP / name, folder / name)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_SECONDS_MAX)
            done.write_bytes(pinned)
    return folder
