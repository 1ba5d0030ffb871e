"""Every checker of `make check` finds a fault that is planted in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COPIED = ("node", "operator", "gpu", "tools", "proto", "docs", "crds", "charts")
VIOLATIONS = {
    "core-is-pure": ("node/theblock_node/core/fees.py", "import random"),
    "node-layers": ("node/theblock_node/store/engine.py", "import theblock_node.services.gossip.relay"),
    "services-are-apart": ("node/theblock_node/services/mempool/pool.py", "import theblock_node.services.gossip.relay"),
    "markets-are-apart": ("node/theblock_node/core/domains/energy/fees.py", "import theblock_node.core.domains.bridge"),
    "operator-knows-no-blocks": ("operator/theblock_operator/queue.py", "import theblock_node.core.fees"),
    "node-knows-no-gpu": ("node/theblock_node/clock.py", "import theblock_gpu"),
    "kubernetes-stays-in-the-operator": ("node/theblock_node/keys.py", "import kopf"),
    "metrics-in-one-place": ("node/theblock_node/rpc/limits.py", "import prometheus_client"),
    "quic-in-transport": ("node/theblock_node/client/keys.py", "import aioquic"),
    "kernels-know-nothing": ("gpu/theblock_kernels/__init__.py", "import theblock_node.core.fees"),
    "kernels-by-one-door": ("node/theblock_node/core/merkle.py", "import theblock_kernels"),
    "strangers-code-in-one-place": ("node/theblock_node/core/proofs/prover.py", "import wasmtime"),
}
"""By contract: where an import that it forbids is planted."""


@pytest.fixture
def copy(tmp_path) -> Path:
    for name in COPIED:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".importlinter"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(copy: Path, *command: str) -> tuple[int, str]:
    """Exit code and everything that was said."""
    paths = os.pathsep.join(str(copy / name) for name in ("node", "operator", "gpu"))
    done = subprocess.run(
        command, cwd=copy, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def contracts() -> dict[str, str]:
    """Id -> sentence of every import contract."""
    text = (ROOT / ".importlinter").read_text()
    return dict(re.findall(r"\[importlinter:contract:([a-z-]+)\]\nname = (.+)", text))


def test_every_contract_has_a_violation_to_find():
    assert set(VIOLATIONS) == set(contracts())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_contract_finds_the_import_that_it_forbids(copy):
    for where, line in VIOLATIONS.values():
        append(copy / where, f"\n{line}\n")

    code, said = run(copy, str(BIN / "lint-imports"), "--no-cache")

    assert code != 0
    for sentence in contracts().values():
        assert f"{sentence} BROKEN" in " ".join(said.split()), sentence


def test_the_formatter_finds_a_planted_fault(copy):
    append(copy / "node/theblock_node/clock.py", "\nplanted={'a':1}\n")

    code, said = run(copy, str(BIN / "ruff"), "format", "--check", "node/theblock_node/clock.py")

    assert (code, "clock.py" in said) == (1, True)


def test_the_linter_finds_a_planted_fault(copy):
    append(copy / "node/theblock_node/clock.py", "\nimport json\n")

    code, said = run(copy, str(BIN / "ruff"), "check", "node/theblock_node/clock.py")

    assert (code, "F401" in said) == (1, True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_type_checker_finds_a_planted_fault(copy):
    append(copy / "node/theblock_node/core/numeric.py", '\nplanted: int = "text"\n')

    code, said = run(copy, str(BIN / "mypy"), "--cache-dir", str(copy / "cache"), "node/theblock_node/core/numeric.py")

    assert code == 1
    assert 'expression has type "str", variable has type "int"' in said


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("checker", "names"),
    [
        pytest.param(
            "tools.generate",
            [
                "docs/spec/calls.md",
                "proto/theblock/energy/v1/energy.proto",
                "node/theblock_node/pb/theblock/v1/chain_pb2.py",
            ],
            id="documents-protos-stubs",
        ),
        pytest.param("theblock_operator.schema", ["crds/validators.yaml"], id="resources"),
    ],
)
def test_a_generated_file_that_was_edited_is_found(copy, checker, names):
    for name in names:
        append(copy / name, f"\n{'//' if name.endswith('.proto') else '#'} planted\n")

    code, said = run(copy, sys.executable, "-m", checker, "--check")

    assert code != 0
    for name in names:
        assert Path(name).name in said


def test_a_released_field_that_changed_its_meaning_is_found(copy):
    path = copy / "proto/theblock/v1/chain.proto"
    text = path.read_text()
    changed = re.sub(r"(message SubmitRequest \{[^}]*?bytes envelope = )1;", r"\g<1>9;", text, count=1, flags=re.S)
    assert changed != text
    path.write_text(changed)

    code, said = run(copy, sys.executable, "-m", "tools.generate.lint")

    assert code != 0
    assert "SubmitRequest" in said
