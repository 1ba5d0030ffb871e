"""`python -m theblock_node ROLE --config FILE`: run one member; `handover --config FILE`: its preStop hook."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import signal
import sys
from pathlib import Path

import structlog

from theblock_node import config as configs
from theblock_node.config import EXIT_BAD_CONFIG, BadConfig, Config
from theblock_node.core.errors import InvalidRecord

HANDOVER = "handover"


def main() -> int:
    parser = argparse.ArgumentParser(prog="theblock_node", description=__doc__)
    parser.add_argument("role", choices=[*configs.ROLES, HANDOVER])
    parser.add_argument("--config", type=Path, required=True, help="the member's config.json")
    arguments = parser.parse_args()
    try:
        config = configs.load(arguments.config)
        if arguments.role not in (config.role, HANDOVER):
            raise BadConfig(f"the file is for {config.role} - at `$.role`")
    except BadConfig as refused:
        print(f"bad config: {refused}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    _set_up_logs(config.log_level)
    if arguments.role == HANDOVER:
        from theblock_node.roles.member import ask_handover

        return 0 if asyncio.run(ask_handover(config)) else 1
    return asyncio.run(_run(config))


async def _run(config: Config) -> int:
    """Run the role until SIGTERM or SIGINT; 78 where a restart would not help."""
    from theblock_node.roles.assembly import GenesisMismatch

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    role = importlib.import_module(f"theblock_node.roles.{config.role}")
    log = structlog.get_logger("main")
    try:
        await role.run(config, stop)
    except (BadConfig, GenesisMismatch, InvalidRecord) as refused:
        log.error("cannot run", reason=str(refused))
        return EXIT_BAD_CONFIG
    except Exception:
        log.exception("member failed", member=config.member)
        return 1
    return 0


def _set_up_logs(level: str) -> None:
    """One JSON line an event, to standard error."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    sys.exit(main())
