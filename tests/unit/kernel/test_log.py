"""Log lines: for machines as JSON, for people as text, and never a second line that a client wrote."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosu.kernel.log import configure_logs, get_logger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    yield
    configure_logs()


def test_an_event_is_one_json_line_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger("part").info("something happened", request_id="1\n2", path=Path("/x"))
    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info", "part": "part", "event": "something happened", "request_id": "1\n2", "path": "/x",
    }  # fmt: skip


@pytest.mark.parametrize(("least", "seen"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_events_below_the_level_are_dropped(least: str, seen: int, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(least)
    log = get_logger("part")
    for write in (log.debug, log.info, log.warning, log.error):
        write("event")
    assert len(capsys.readouterr().err.splitlines()) == seen


def test_an_exception_comes_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("odd")  # noqa: TRY301 - to have a traceback
    except ValueError as error:
        get_logger("part").error("failed", exc_info=error)
    line = json.loads(capsys.readouterr().err)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: odd")


def test_a_person_reads_text_in_which_no_client_moves_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    get_logger("s3").warning("odd key", key="\x1b[2J\nfake")
    assert terminal.getvalue().count("\n") == 1
    assert "\x1b" not in terminal.getvalue()
    assert "warning s3: odd key key=" in terminal.getvalue()


def test_a_log_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken())
    get_logger("part").error("unheard")
    monkeypatch.setattr(sys, "stderr", None)
    get_logger("part").error("unheard")
