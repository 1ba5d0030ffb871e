"""Programs of circuits, compiled by a process of their own: nothing else ends a compilation that takes too long.

A module of some kilobytes can keep the compiler busy for hours, or ask it for all memory. `python -m
theblock_gpu.programs` reads one from standard input and writes its code, or the refusal, to standard output.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import witness
from theblock_node.core.proofs.witness import Program

COMPILE_SECONDS_MAX = 60.0
COMPILE_BYTES_MAX = 4 * 2**30
REFUSED = 3
"""Exit status with a refusal in the place of code."""


def load(wasm: bytes, *, seconds_max: float = COMPILE_SECONDS_MAX) -> Program:
    """As `witness.load`; a module that takes too long or too much to compile is refused too."""
    command = [sys.executable, "-m", "theblock_gpu.programs"]
    try:
        done = subprocess.run(command, input=wasm, capture_output=True, timeout=seconds_max, check=False)
    except subprocess.TimeoutExpired as late:
        raise InvalidRecord("snark.bad_wasm", reason="compile_seconds", max=seconds_max) from late
    if done.returncode == REFUSED:
        refusal = json.loads(done.stdout)
        raise InvalidRecord(refusal["code"], **refusal["facts"])
    if done.returncode != 0:
        raise InvalidRecord("snark.bad_wasm", reason="compile", status=done.returncode, max_bytes=COMPILE_BYTES_MAX)
    return witness.load_compiled(done.stdout)


def main() -> int:
    """Compile one module."""
    resource.setrlimit(resource.RLIMIT_AS, (COMPILE_BYTES_MAX, COMPILE_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        sys.stdout.buffer.write(witness.compile_module(sys.stdin.buffer.read()))
    except InvalidRecord as refused:
        facts = {name: str(fact) for name, fact in refused.facts.items()}
        sys.stdout.buffer.write(json.dumps({"code": refused.code, "facts": facts}).encode())
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
