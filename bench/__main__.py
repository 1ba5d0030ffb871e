"""`python -m bench`: run the benches, print the table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench import blocks, codec, devnet, embedded, operator, report, signatures, state_root
from bench.figures import Figure

BENCHES: Mapping[str, Callable[[], Iterator[Figure]]] = {
    "codec": codec.run,
    "signatures": signatures.run,
    "state_root": state_root.run,
    "blocks": blocks.run,
    "rpc": devnet.run_submit,
    "devnet": devnet.run,
    "operator": operator.run,
    "embedded": embedded.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="The benchmark table.")
    parser.add_argument("--only", action="append", choices=sorted(BENCHES), metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    figures: list[Figure] = []
    for name in options.only or BENCHES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures.extend(BENCHES[name]())
    command = " ".join(["python -m bench", *(f"--only {name}" for name in options.only or ())])
    print("\n".join(f"{key}: {value}" for key, value in report.machine().items()))
    print(f"command: {command}\n\n{report.render(figures)}")
    if options.json is not None:
        options.json.write_text(report.to_json(figures, command))
    return 0


if __name__ == "__main__":
    sys.exit(main())
