"""From `theblock up` of the starter network to all of it Ready, in a folder of its own and on addresses of its own.

A network that is up elsewhere on the machine is not touched; it only takes processor time.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import Figure, not_measured

COMMAND = (sys.executable, "-m", "theblock_operator.embedded.cli")
STARTER = Path(__file__).resolve().parents[1] / "examples" / "starter"
SUBNET = 46
UP_S = 240
DOWN_S = 90
TIMES = re.compile(r"^\s*([0-9.]+) s  (\S+)\s+ready$", re.MULTILINE)
"""Lines of the command's own progress: when a resource became Ready."""


def run() -> Iterator[Figure]:
    with TemporaryDirectory(prefix="theblock-bench-", ignore_cleanup_errors=True) as name:
        home = ("--home", str(Path(name) / "up"))
        words = ("up", "-f", str(STARTER), "--subnet", str(SUBNET), "--timeout", str(UP_S))
        started = time.perf_counter()
        try:
            up = subprocess.run(
                [*COMMAND, *home, *words], capture_output=True, text=True, timeout=UP_S + 60, check=False
            )
            elapsed = time.perf_counter() - started
        finally:
            subprocess.run([*COMMAND, *home, "down"], capture_output=True, timeout=DOWN_S, check=False)
    if up.returncode != 0:
        yield not_measured(
            "embedded.start", "s", f"`theblock up` ended with {up.returncode}: {up.stderr.strip()[-120:]}"
        )
        return
    ready = {resource: float(seconds) for seconds, resource in TIMES.findall(up.stdout)}
    last = max(ready, key=lambda resource: ready[resource])
    yield Figure(
        "embedded.start", elapsed, "s", note=f"all six kinds of the starter network Ready, {last} last", is_time=True
    )
    yield Figure(
        "embedded.validators", ready["validator/validators"], "s", note="until four validators make blocks final",
        is_time=True,
    )  # fmt: skip
