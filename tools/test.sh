#!/usr/bin/env bash
# Every test: first those that need no cluster, then those on the real one. Ends with pytest's own closing line.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/system.sh
mkdir -p build
tools/test-fast.sh --junitxml build/test-fast.xml "$@"
.venv/bin/python -m pytest -v -m "cluster and not soak" --timeout 900 "$@"
