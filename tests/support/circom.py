"""The circom compiler and snarkjs, run as tools in one folder; and circuits of ours, compiled by them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support import interop

SOURCES = interop.ROOT / "examples" / "circuits"


class Tools:
    """The compiler and snarkjs, run in one folder."""

    def __init__(self, folder: Path) -> None:
        self._modules = interop.install() / "node_modules"
        self.folder = folder

    def circom(self, *arguments: str) -> int:
        return self._run("circom2/cli.js", *arguments)

    def snarkjs(self, *arguments: str) -> int:
        """The exit status: 0 if what was asked holds."""
        return self._run("snarkjs/build/cli.cjs", *arguments)

    def compile(self, name: str) -> bytes:
        """The module of a circuit in examples/circuits; its constraints are in `NAME.r1cs` then."""
        # circom reaches the disk through a root of its own, which has no folders above the working one.
        for source in SOURCES.glob("*.circom"):
            self.write(source.name, source.read_bytes())
        assert self.circom(f"{name}.circom", "--r1cs", "--wasm", "--O2") == 0
        return self.read(f"{name}_js/{name}.wasm")

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def write(self, name: str, content: bytes | str) -> str:
        path = self.folder / name
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        return name

    def _run(self, script: str, *arguments: str) -> int:
        command = ["node", str(self._modules / script), *arguments]
        # What they say is captured by pytest, and shown when a test fails.
        environment = {**os.environ, "NO_COLOR": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environment, timeout=180, check=False)
        return done.returncode
