from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.loopback import subnet
from theblock_node.cli.main import cli
from theblock_node.sim.dev_chain import seed_of

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Shell:
    """`tb-cli` against a chain of its own; what it prints as text, or taken apart."""

    folder: Path
    context: Path
    chain: str
    still: str
    """A chain that makes no blocks."""

    def run(self, *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None) -> Result:
        given = {"TB_CONTEXT": str(self.context), "TB_KEY": None, **(env or {})}
        return CliRunner().invoke(cli, arguments, input=stdin, env=given, prog_name="tb-cli")

    def text(self, *arguments: str, **options: Any) -> str:
        """Standard output of a run that must end well."""
        result = self.run(*arguments, **options)
        assert result.exit_code == 0, (result.stdout, result.stderr, result.exception)
        return result.stdout

    def json(self, *arguments: str, **options: Any) -> Any:
        """The JSON document of a run that must end well."""
        return json.loads(self.text(*arguments, "--output", "json", **options))

    def refused(self, *arguments: str, code: int = 1, **options: Any) -> str:
        """The one line of a run that must end with ``code``, and print nothing."""
        result = self.run(*arguments, **options)
        assert (result.exit_code, result.stdout) == (code, ""), (result.stdout, result.stderr, result.exception)
        line = result.stderr.strip().splitlines()[-1]
        assert line.startswith("tb-cli: ")
        assert "; " in line, "what to do is missing"
        return line

    def key(self, name: str) -> str:
        """A file with the key that the chain knows as ``name``."""
        path = self.folder / f"{name}.key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(seed_of(name).hex())
        return str(path)


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> Iterator[Shell]:
    """A chain for each file: what one file registers would take the jobs that another one posts."""
    folder = tmp_path_factory.mktemp("cli")
    command = [sys.executable, "-m", "support.serve"]
    with subprocess.Popen(
        command, cwd=ROOT / "tests", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        ports = json.loads(running.stdout.readline())
        context = folder / "context.json"
        made = Shell(folder, context, f"127.0.0.1:{ports['chain']}", f"127.0.0.1:{ports['still']}")
        rows = [
            ("validators-0", "validator", "127.0.0.1", "chain"),
            ("storage-0", "storage_provider", f"{subnet(43)}.1", "storage"),
        ]
        members = [
            {"name": name, "role": role, "resource": role, "host": host, "grpc": ports[which], "tls_name": None}
            for name, role, host, which in rows
        ]
        document = {"network": "dev", "namespace": "theblock", "members": members, "ca": None, "admin": None}
        context.write_text(json.dumps({**document, "funder": made.key("alice"), "explorer": None, "metrics": {}}))
        yield made
        running.stdin.close()
        assert running.wait(20) == 0
