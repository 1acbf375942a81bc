"""Structured log events: one line per pass that changed something.

An event is a constant in the past tense with its values as keys; the keys used across modules are
the constants of `Key`. JSON by default, readable text on a terminal.
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict, WrappedLogger

__all__ = ["Key", "configure_logging"]


class Key(StrEnum):
    """The keys of log events that more than one module writes."""

    NAMESPACE = "namespace"
    NAME = "name"
    SPIFFE_ID = "spiffe_id"
    SERIAL = "serial"
    ISSUER = "issuer"
    NOT_AFTER = "not_after"
    REASON = "reason"
    CAUSE = "cause"


_SECRET_WORDS = ("token", "private", "pem", "password")


def _mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask what could be key material, whoever logged it."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "[masked]"
    return event


def _foreign_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Name the library that a line of the standard library's logging comes from."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event.setdefault("logger", record.name)
    return event


def configure_logging(level: str = "info", *, stream: TextIO | None = None) -> None:
    """Send agentid's events, and what libraries log from warning up, to one stream.

    Args:
        level: The least severity of agentid's own events: debug, info, warning or error.
        stream: Where to; standard error if not given. A terminal gets readable lines, everything
            else one JSON object a line.
    """
    out = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _foreign_event,
        _mask,
    ]
    renderer: structlog.typing.Processor
    if out.isatty():
        # The pretty ones show local variables, and so whatever token or key one holds.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    else:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(default=str)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name, threshold in _thresholds(level).items():
        logging.getLogger(name).setLevel(threshold)


def _thresholds(level: str) -> Mapping[str, int]:
    return {
        "agentid": logging.getLevelNamesMapping()[level.upper()],
        # Kopf logs a line for each event of each object at info and debug.
        "kopf": logging.WARNING,
        "asyncio": logging.WARNING,
    }
