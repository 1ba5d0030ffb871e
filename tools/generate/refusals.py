"""Every refusal that the code can give, and what it becomes on gRPC: a table for people, and for review."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from theblock_node.rpc.errors import RPC_CODES, status_name

FOLDERS = ("core", "services", "rpc", "roles", "store")
RAISED = ("InvalidTx", "InvalidBlock", "InvalidRecord", "_refuse", "refuse")


def render(root: Path) -> dict[str, str]:
    codes = sorted({code for folder in FOLDERS for code in _codes(root / "node" / "theblock_node" / folder)})
    rows = [
        "# Refusals",
        "",
        "Made from the code: each name, its gRPC status, and its number in the reference system.",
        "",
    ]
    rows += ["| refusal | status | rpc_code |", "|---|---|---:|"]
    rows += [f"| `{code}` | {status_name(code)} | {RPC_CODES.get(code, '')} |" for code in codes]
    return {"docs/spec/refusals.md": "\n".join([*rows, ""])}


def _codes(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            first = node.args[0]
            if name in RAISED and isinstance(first, ast.Constant) and "." in str(first.value):
                yield str(first.value)
