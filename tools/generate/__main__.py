"""`python -m tools.generate [--check]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tools.generate import cli, domains, kernels, refusals, stubs

ROOT = Path(__file__).resolve().parents[2]
OWNED = ("docs/spec/*.schema.json", "node/theblock_node/pb/**/*.py", "node/theblock_node/pb/**/*.pyi")
"""What is removed when it is no longer made."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something differs")
    check = parser.parse_args().check
    stale: list[str] = []
    # Stubs are made from the protos, so those of the domains come first.
    made = _put(domains.render(), check, stale)
    made |= _put(refusals.render(ROOT), check, stale)
    made |= _put(kernels.render(), check, stale)
    made |= _put(stubs.render(ROOT), check, stale)
    # The reference is written from the commands, and those from the catalogue.
    made |= _put(cli.render_catalogue(), check, stale)
    made |= _put(cli.render_reference(), check, stale)
    for pattern in OWNED:
        for path in ROOT.glob(pattern):
            if path.relative_to(ROOT).as_posix() not in made and path.name != "__init__.py":
                stale.append(path.relative_to(ROOT).as_posix())
                if not check:
                    path.unlink()
    for name in stale if check else []:
        print(f"differs from what it is made from: {name}", file=sys.stderr)
    if check:
        return 1 if stale else 0
    # The operator makes its own: it shares nothing with what is made here.
    return subprocess.run([sys.executable, "-m", "theblock_operator.schema"], cwd=ROOT, check=False).returncode


def _put(files: dict[str, str], check: bool, stale: list[str]) -> set[str]:
    for name, text in files.items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return set(files)


if __name__ == "__main__":
    sys.exit(main())
