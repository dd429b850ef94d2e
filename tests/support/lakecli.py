"""The command line on a lake of this machine, run in this process."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

import hosu
from hosu.cli.main import build_app


@dataclass(frozen=True)
class LakeCli:
    """`run("user", "add", "alice")` is `hosu user add LAKE alice`; the lake is always the third word."""

    folder: Path

    def run(self, group: str, verb: str, *words: object, stdin: str | bytes | None = None) -> Result:
        """Run a verb as a person would."""
        return CliRunner().invoke(build_app(), [group, verb, str(self.folder), *map(str, words)], input=stdin)

    def text(self, group: str, verb: str, *words: object, stdin: str | bytes | None = None) -> str:
        """Run a verb that must succeed, and return what it prints."""
        result = self.run(group, verb, *words, stdin=stdin)
        assert (result.exit_code, result.exception) == (0, None), result.output
        return result.stdout

    def lines(self, group: str, verb: str, *words: object, stdin: str | bytes | None = None) -> list[dict[str, Any]]:
        """Run a verb with --json and return its lines, whether it succeeds or not."""
        result = self.run(group, verb, *words, "--json", stdin=stdin)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def fault(self, group: str, verb: str, *words: object, stdin: str | bytes | None = None) -> tuple[str, int]:
        """Run a verb that must fail; return its error's kind and the exit status, the same with and without JSON."""
        told = self.run(group, verb, *words, stdin=stdin)
        assert told.stdout == ""
        assert told.stderr.startswith(f"hosu {group} {verb}: ")
        result = self.run(group, verb, *words, "--json", stdin=stdin)
        assert result.exit_code == told.exit_code
        (line,) = [json.loads(line) for line in result.stdout.splitlines()]
        assert (line["status"], line["operation"]) == ("error", f"{group} {verb}")
        return line["kind"], result.exit_code

    def opened(self) -> "hosu.Lake":
        """Open the lake to look inside."""
        return hosu.open(self.folder, create=False)


def make_lake(folder: Path) -> LakeCli:
    """Make a lake, and return the command line on it."""
    hosu.open(folder).close()
    return LakeCli(folder)
