#!/usr/bin/env bash
# Pin every requirement with its hashes: names, versions and hashes only, never where a file came from.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { # out extras...
  local out=$1; shift
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links pyproject.toml "$@" -o "requirements/$out.txt"
}
compile node --extra node
compile operator --extra operator
compile run --extra node --extra operator
compile dev --extra node --extra operator --extra dev
