#!/usr/bin/env bash
# Make the virtual environment `.venv` hold what is pinned in requirements/<set>.txt, and the project itself.
set -euo pipefail
cd "$(dirname "$0")/.."
set_name=$1 python=${2:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  { echo "theblock needs Python 3.11 or newer as '$python' (set PYTHON=... to name another)" >&2; exit 1; }
if [ ! -x .venv/bin/python ]; then
  echo "making .venv"
  "$python" -m venv .venv ||
    { rm -rf .venv; echo "Python cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
fi
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
echo "installing the packages pinned in requirements/$set_name.txt"
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes -r "requirements/$set_name.txt"
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
# Compiled once here, so that the first start is no slower than the others.
.venv/bin/python -m compileall -q node operator gpu
.venv/bin/python -m theblock_kernels >/dev/null ||
  echo "no native kernels here, which a C++ compiler makes: proofs are computed by their exact twins"
touch ".venv/.$set_name"
[ "$set_name" = run ] || touch .venv/.run
