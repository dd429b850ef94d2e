"""What verbs on a lake of this machine share: opening it, reading secrets and times, showing records."""

import contextlib
import getpass
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import options
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.identity.records import NewKey
    from hosu.lake import Lake

Folder = Annotated[Path, typer.Argument(metavar="LAKE", help="The lake's folder.", show_default=False)]
SecretFile = Annotated[
    Path | None,
    typer.Option("--secret-file", metavar="FILE", help="Read the secret from a file; `-` is standard input."),
]
Ask = Annotated[bool, typer.Option("--ask", help="Ask for the secret.")]

LABEL_CHARACTERS = 14
SECRET_FILE_BYTES_MAX = 4096
DAY_MS = 24 * 60 * 60 * 1000
_UNIT_MS = {"s": 1000, "m": 60 * 1000, "h": 60 * 60 * 1000, "d": DAY_MS, "w": 7 * DAY_MS}
_SPAN = re.compile(r"(\d{1,9})([smhdw])")


@contextlib.contextmanager
def opened(operation: str, folder: Path, json_lines: bool, quiet: bool) -> Iterator[tuple["Lake", "Output"]]:
    """Open a lake for one verb, beside its server or without one; a folder that is no lake is refused."""
    with options.explained(operation, json_lines=json_lines):
        from hosu.cli.output import Output
        from hosu.lake import open_lake

        with open_lake(folder, create=False, actor=who()) as lake:
            yield lake, Output(json_lines=json_lines, quiet=quiet)


def who() -> str:
    """Return the name that histories and the audit log show: the person's on this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"uid {os.getuid()}"


# Secrets


def read_secret(output: "Output", given: str | None, file: Path | None, ask: bool, what: str = "secret") -> str:
    """Return the secret that the command line leads to; empty where it is to be generated."""
    if sum((given is not None, file is not None, ask)) > 1:
        raise UsageFault(f"the {what} comes from several places: give one")
    if given == "":
        raise UsageFault(f"the {what} is empty: leave it out to have one generated")
    if given is not None:
        output.note(f"note: other users may see this {what} in the list of processes: --secret-file or --ask hide it")
        return given
    if file is not None:
        return read_secret_file(file, what)
    return typer.prompt(what.capitalize(), hide_input=True, confirmation_prompt=True, err=True) if ask else ""


def read_secret_file(file: Path, what: str = "secret") -> str:
    """Return the first line of a file, or of standard input for `-`."""
    try:
        if file == Path("-"):
            raw = sys.stdin.buffer.readline(SECRET_FILE_BYTES_MAX)
        else:
            with file.open("rb") as stream:
                raw = stream.readline(SECRET_FILE_BYTES_MAX)
        secret = raw.decode().rstrip("\r\n")
    except OSError as error:
        raise UsageFault(f"the {what} cannot be read from {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageFault(f"{file} does not hold a {what} in UTF-8") from None
    if not secret:
        raise UsageFault(f"{file} holds no {what}: write it on the first line")
    return secret


def read_document(file: Path, what: str, bytes_max: int) -> str:
    """Return the text of a file that holds a `what`, or of standard input for `-`; what is longer is cut."""
    try:
        if file == Path("-"):
            raw = sys.stdin.buffer.read(bytes_max)
        else:
            with file.open("rb") as stream:
                raw = stream.read(bytes_max)
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise UsageFault(f"the {what} cannot be read from {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageFault(f"{file} is not a {what} in UTF-8") from None


def say_new_key(output: "Output", operation: str, key: "NewKey", told: str, *, is_generated: bool) -> None:
    """Show a key pair the one time it is known; of a secret that the person gave, only what was done is told."""
    fields: dict[str, object] = {"operation": operation, "access_key": key.access_key}
    if key.expires_ms:
        fields["expires"] = shown_time(key.expires_ms)
    if not is_generated:
        output.event(fields, f"{told} {key.access_key}")
        return
    lines = [("access key", key.access_key), ("secret", key.secret), ("expires", shown_time(key.expires_ms))]
    output.row_lines({**fields, "secret": key.secret}, shown(lines))
    output.note("the secret is shown this once")


# Times


def parse_span(text: str, option: str) -> int:
    """Return the milliseconds of a span such as 90s, 15m, 24h, 30d or 2w."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise UsageFault(f"{option} {text!r} is not a span of time: write 90s, 15m, 24h, 30d or 2w")
    return int(match[1]) * _UNIT_MS[match[2]]


def is_span(text: str) -> bool:
    """Whether a text is a span of time, such as 2h."""
    return _SPAN.fullmatch(text) is not None


def parse_moment(text: str, option: str, now_ms: int, *, is_past: bool) -> int:
    """Return the milliseconds since 1970 of a date, a time (UTC unless it says otherwise), or a span from now."""
    if _SPAN.fullmatch(text):
        span = parse_span(text, option)
        return now_ms - span if is_past else now_ms + span
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageFault(
            f"{option} {text!r} is not a time: write 2027-01-31, 2027-01-31T18:00:00+09:00, or a span such as 30d"
        ) from None


def shown_time(milliseconds: int) -> str:
    """Render a time for people and programs; empty for 0, which is never."""
    if not milliseconds:
        return ""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms since 1970"


# Records


def shown(lines: Sequence[tuple[str, object]]) -> str:
    """Render labelled values, one a line; empty ones are left out."""
    from hosu.cli.output import printable

    return "\n".join(f"{label:<{LABEL_CHARACTERS}}{printable(str(value))}" for label, value in lines if value != "")


def say_record(output: "Output", fields: Mapping[str, object], lines: Sequence[tuple[str, object]]) -> None:
    """Show a record: labelled lines, or one JSON object."""
    output.row_lines(fields, shown(lines))


def listed(names: Sequence[str]) -> str:
    """Render names on one line."""
    return ", ".join(names)


def state(is_enabled: bool) -> str:
    """Name whether something is let in, as MinIO does."""
    return "enabled" if is_enabled else "disabled"
