"""What makes the core the same on every machine: no clock, chance, disk or floats, shown on its syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "node" / "theblock_node" / "core"
MODULES = sorted(CORE.rglob("*.py"))
IMPURE = {
    *("asyncio", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets"),
    *("shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid", "concurrent"),
}
"""Modules of the standard library that know of a clock, of chance or of the machine."""
EXACT = {"isqrt", "gcd", "lcm", "comb", "perm"}
"""What may be had of ``math``: it takes and gives integers."""
NAMES = {"open", "input", "print", "float", "complex", "hash", "id", "breakpoint", "eval", "__import__"}
"""Builtins whose answer differs from run to run, or that reach outside. ``exec`` compiles the codec, and only there."""


def faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Import(names=names):
                banned = IMPURE | {"math"}
                yield from (f"{line}: import {n.name}" for n in names if n.name.partition(".")[0] in banned)
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in IMPURE:
                yield f"{line}: from {module}"
            case ast.ImportFrom(module="math", names=names) if {n.name for n in names} - EXACT:
                yield f"{line}: floats of math"
            case ast.Constant(value=float() | complex()):
                yield f"{line}: a float"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield f"{line}: a division that does not say how it rounds"
            case ast.Name(id=name, ctx=ast.Load()) if name in NAMES and not _is_tested_type(node, tree):
                yield f"{line}: {name}"
            case ast.For(iter=ast.Set() | ast.SetComp()) | ast.comprehension(iter=ast.Set() | ast.SetComp()):
                yield f"{line}: an order that is not stated"


def _is_tested_type(name: ast.Name, tree: ast.AST) -> bool:
    """``float`` as the second argument of isinstance: to refuse it."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and name in ast.walk(node.args[1])
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(CORE).as_posix())
def test_a_module_of_the_core_is_pure(path):
    assert list(faults(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import time", id="a-clock"),
        pytest.param("from random import Random", id="chance"),
        pytest.param("import os.path", id="the-disk"),
        pytest.param("from math import sqrt", id="a-root-in-floats"),
        pytest.param("import math", id="all-of-math"),
        pytest.param("x = 0.5", id="a-float"),
        pytest.param("x = 1 / 2", id="a-division"),
        pytest.param("x = 1\nx /= 2", id="a-division-in-place"),
        pytest.param("x = float(1)", id="made-a-float"),
        pytest.param("x = hash('a')", id="a-seeded-hash"),
        pytest.param("open('x')", id="a-file"),
        pytest.param("for x in {1, 2}: pass", id="a-set's-order"),
        pytest.param("x = [y for y in {1, 2}]", id="a-set's-order-in-a-list"),
    ],
)
def test_a_planted_fault_is_found(source):
    assert len(list(faults(ast.parse(source)))) == 1


def test_only_the_codec_compiles_code():
    users = [path.name for path in MODULES if "exec(" in path.read_text()]

    assert users == ["codec.py"]


def test_crypto_libraries_are_imported_in_one_module():
    libraries = ("nacl", "blake3", "hashlib", "cryptography")
    users = {
        path.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names])
        if name.partition(".")[0] in libraries
    }

    assert users == {"crypto.py"}
