#!/usr/bin/env bash
# The tests that need no cluster. Half of their time is waiting, so more of them run at once than there are cores.
set -euo pipefail
cd "$(dirname "$0")/.."
# The tests start some hundred processes; where PYTHONDONTWRITEBYTECODE is set each would compile what it imports.
.venv/bin/python -m compileall -q node operator gpu
# A file stays whole, for the network that its tests share; tests/conftest.py says which file is first.
exec .venv/bin/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder -m "not cluster and not soak" "$@"
