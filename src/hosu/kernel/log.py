"""Structured logs on stderr: one line per event, JSON unless a person watches.

Written without a logging library: the supervisor of an idle lake holds nothing but this, its sockets and its timers.
"""

import json
import sys
import time

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
LEVELS = {"DEBUG": DEBUG, "INFO": INFO, "WARNING": WARNING, "ERROR": ERROR}

_least = INFO
"""Events below this level are dropped; one process has one log."""


def configure_logs(level: str = "INFO") -> None:
    """Set what this process logs; level is one of `LEVELS`."""
    global _least  # noqa: PLW0603 - see above
    _least = LEVELS[level]


class Logger:
    """Logs the events of one part of hosu. Fields are values that JSON has; others are written as text."""

    __slots__ = ("_part",)

    def __init__(self, part: str) -> None:
        self._part = part

    def debug(self, event: str, **fields: object) -> None:
        """Log what only a developer wants to see."""
        self._write(DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log what went as it should."""
        self._write(INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log what an operator should look at."""
        self._write(WARNING, event, fields)

    def error(self, event: str, *, exc_info: BaseException | None = None, **fields: object) -> None:
        """Log what failed, with the traceback of an exception that nobody expected."""
        if exc_info is not None:
            from traceback import format_exception  # noqa: PLC0415 - an idle process has no use for it

            fields["exception"] = "".join(format_exception(exc_info)).rstrip()
        self._write(ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if level < _least or sys.stderr is None:
            return
        now_ms = time.time_ns() // 1_000_000
        moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now_ms // 1000))}.{now_ms % 1000:03d}Z"
        name = next(name for name, value in LEVELS.items() if value == level).lower()
        try:
            is_watched = sys.stderr.isatty()
            if is_watched:
                line = _readable(moment, name, self._part, event, fields)
            else:
                whole = {"timestamp": moment, "level": name, "part": self._part, "event": event, **fields}
                line = json.dumps(whole, default=str)
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # whoever read the log has gone; requests go on
            return


def _readable(moment: str, level: str, part: str, event: str, fields: dict[str, object]) -> str:
    """Render an event for a person; values are quoted, so that a client cannot move the cursor."""
    text = " ".join(f"{name}={json.dumps(value, default=str)}" for name, value in fields.items() if name != "exception")
    line = f"{moment} {level:7} {part}: {event} {text}".rstrip()
    return f"{line}\n{fields['exception']}" if "exception" in fields else line


def get_logger(part: str) -> Logger:
    """Return the logger of a part of hosu."""
    return Logger(part)
