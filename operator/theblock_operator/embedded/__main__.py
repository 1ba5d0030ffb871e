"""`python -m theblock_operator.embedded --home DIR --namespace NAME`: the controller; `theblock up` starts it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from theblock_operator.embedded.places import Home
from theblock_operator.embedded.spawning import launch


def main() -> int:
    parser = argparse.ArgumentParser(prog="theblock_operator.embedded", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--subnet", type=int, default=77)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # The spawner imports what members need while this process imports what the controller needs.
    spawner = launch()
    from theblock_operator.embedded.service import AlreadyRunning, run

    home = Home(arguments.home.resolve())
    try:
        asyncio.run(run(home, arguments.namespace, subnet=arguments.subnet, spawner=spawner))
    except AlreadyRunning as refused:
        print(refused, file=sys.stderr)
        return 1
    finally:
        spawner.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
