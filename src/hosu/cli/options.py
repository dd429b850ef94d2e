"""The options that verbs share, and how a verb runs: with a session, an exit status and no traceback."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.kernel.errors import HosuError

if TYPE_CHECKING:
    from hosu.cli.session import Session

JOBS_DEFAULT = 8
JOBS_MAX = 256

Addresses = Annotated[
    list[str], typer.Argument(metavar="ADDRESS...", help="hosu://PROFILE/BUCKET/KEY or s3://BUCKET/KEY.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print answers and errors only.")]
Endpoint = Annotated[str | None, typer.Option("--endpoint-url", metavar="URL", help="Endpoint of s3:// addresses.")]
AwsProfile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="AWS profile of s3:// addresses.")]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", min=1, max=JOBS_MAX, help="Files, and parts of files, under way at once.")
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Everything below the address.")]


@contextlib.contextmanager
def running(
    operation: str,
    *,
    json_lines: bool = False,
    quiet: bool = False,
    endpoint_url: str | None = None,
    profile: str | None = None,
    jobs: int = JOBS_DEFAULT,
    resume: bool = True,
) -> Iterator["Session"]:
    """Open a session for one verb; end the process with status 1 for a failure and 2 for a usage fault."""
    from hosu.cli.session import Common, open_session

    common = Common(
        json_lines=json_lines,
        quiet=quiet,
        endpoint_url=endpoint_url,
        aws_profile=profile,
        jobs=jobs,
        resume=resume,
    )
    with explained(operation, json_lines=json_lines), open_session(common) as session:
        yield session


@contextlib.contextmanager
def explained(operation: str, *, json_lines: bool = False) -> Iterator[None]:
    """Say what failed in one line and leave with its exit status."""
    from hosu.cli.faults import CancelledError, UsageFault, as_hosu_error

    try:
        yield
    except KeyboardInterrupt:
        say_error(operation, CancelledError(), json_lines=json_lines)
        raise typer.Exit(1) from None
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be said to them.
        quiet_pipe()
        raise typer.Exit(1) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 - people get a line and an exit status, never a traceback
        fault = as_hosu_error(error, operation)
        say_error(operation, fault, json_lines=json_lines)
        raise typer.Exit(2 if isinstance(fault, UsageFault) else 1) from None


def say_error(operation: str, error: HosuError, *, json_lines: bool) -> None:
    """Print an error: as JSON on standard output, or as a line on standard error."""
    from hosu.cli.output import printable

    if json_lines:
        fields = {
            "status": "error",
            "operation": operation,
            "address": "",
            "kind": str(error.kind),
            "message": error.message,
        }
        sys.stdout.write(json.dumps(fields, ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"hosu {operation}: {printable(error.message)}\n")


def quiet_pipe() -> None:
    """Point standard output at nothing, so that the interpreter's last flush does not complain."""
    import os

    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def confirmed(question: str) -> None:
    """Ask before something that cannot be undone, when there is somebody to ask; leave on anything but yes."""
    if sys.stdin is not None and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)
