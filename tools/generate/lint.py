"""`python -m tools.generate.lint`: the protos' style, and that no released field changed its meaning.

The comparison is with `proto/base.binpb`, the protos of the last release. Making a release renews it, and nothing else
does: `python -m tools.generate.lint --release`, committed with the release. Until the first one, nobody holds messages
of an older form, so it may be renewed when a message changes, in the same commit.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "proto" / "base.binpb"
"""Image of the protos as last released."""


def main() -> int:
    buf = str(Path(sys.executable).parent / "buf")
    if "--release" in sys.argv:
        return subprocess.run([buf, "build", str(ROOT / "proto"), "-o", str(BASE)], check=False).returncode
    checks = [[buf, "lint", str(ROOT / "proto")], [buf, "breaking", str(ROOT / "proto"), "--against", str(BASE)]]
    return max(subprocess.run(check, check=False).returncode for check in checks)


if __name__ == "__main__":
    sys.exit(main())
