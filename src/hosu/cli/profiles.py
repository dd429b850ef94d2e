"""Named endpoints with their credentials, in one private file: `~/.config/hosu/config.toml`."""

import difflib
import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from hosu.cli.faults import UsageFault
from hosu.cli.localfiles import write_private

LOCAL_ENDPOINT = "http://127.0.0.1:9000"
"""Where `hosu serve` listens unless told otherwise."""

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


@dataclass(frozen=True, slots=True)
class Profile:
    """One endpoint as one person reaches it."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    path_style: bool = True

    def __repr__(self) -> str:
        return f"Profile(endpoint={self.endpoint!r}, access_key={self.access_key!r}, secret_key=<hidden>)"


def config_path(environment: Mapping[str, str]) -> Path:
    """Return where profiles are kept, as the XDG base directories say."""
    base = environment.get("XDG_CONFIG_HOME", "")
    # The XDG rule: a relative value is invalid and must be ignored.
    folder = Path(base) if base.startswith("/") else Path.home() / ".config"
    return folder / "hosu" / "config.toml"


class Profiles:
    """The profiles of one person: those of the file, and the built-in `local`."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.path = path
        self._environment = environment

    @classmethod
    def of_user(cls) -> "Profiles":
        """Return the profiles of whoever runs this process."""
        return cls(config_path(os.environ), os.environ)

    def get(self, name: str) -> Profile:
        """Return a profile; raise UsageFault, with the nearest name, when there is none."""
        saved = self.saved()
        if name in saved:
            return saved[name]
        if name == "local":
            return self._local()
        near = difflib.get_close_matches(name, [*saved, "local"], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`hosu profile ls` lists them"
        raise UsageFault(f"there is no profile {name!r}: {hint}, `hosu profile set {name} --endpoint URL` makes it")

    def saved(self) -> dict[str, Profile]:
        """Return the profiles of the file, by name; none when there is no file."""
        try:
            with self.path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    raise UsageFault(
                        f"{self.path} holds secrets and others can read it ({mode:04o}): chmod 600 {self.path}"
                    )
                document = tomllib.load(file)
        except FileNotFoundError:
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageFault(f"{self.path} is not TOML ({error}): mend or remove it") from error
        _refuse_unknown(self.path, "", document, {"profiles"})
        tables = document.get("profiles", {})
        if not isinstance(tables, dict):
            raise UsageFault(f"{self.path}: 'profiles' must be a table: write [profiles.NAME]")
        return {name: self._read(name, table) for name, table in tables.items()}

    def save(self, name: str, profile: Profile) -> None:
        """Add or replace one profile."""
        if not _NAME.match(name):
            raise UsageFault(f"{name!r} cannot name a profile: use letters, digits, '.', '_' and '-'")
        check_profile(name, profile)
        self._write({**self.saved(), name: profile})

    def remove(self, name: str) -> None:
        """Forget one profile; raise UsageFault when the file has none of that name."""
        saved = self.saved()
        if name not in saved:
            raise UsageFault(f"{self.path} has no profile {name!r}: `hosu profile ls` lists them")
        del saved[name]
        self._write(saved)

    def _local(self) -> Profile:
        for prefix in ("HOSU", "MINIO"):
            user = self._environment.get(f"{prefix}_ROOT_USER", "")
            password = self._environment.get(f"{prefix}_ROOT_PASSWORD", "")
            if user and password:
                return Profile(LOCAL_ENDPOINT, user, password)
        raise UsageFault(
            "the built-in profile 'local' takes its credentials from HOSU_ROOT_USER and HOSU_ROOT_PASSWORD "
            "(or MINIO_ROOT_USER and MINIO_ROOT_PASSWORD): set them, or `hosu profile set local`"
        )

    def _read(self, name: str, table: object) -> Profile:
        if not isinstance(table, dict):
            raise UsageFault(f"{self.path}: profile {name!r} must be a table: write [profiles.{name}]")
        _refuse_unknown(self.path, f"profiles.{name}.", table, {field.name for field in fields(Profile)})
        for key, value in table.items():
            wanted = bool if key == "path_style" else str
            if not isinstance(value, wanted):
                raise UsageFault(f"{self.path}: profiles.{name}.{key} is {value!r}: write a {wanted.__name__}")
        missing = [key for key in ("endpoint", "access_key", "secret_key") if key not in table]
        if missing:
            raise UsageFault(f"{self.path}: profile {name!r} lacks {', '.join(missing)}: run `hosu profile set {name}`")
        profile = Profile(**table)
        check_profile(name, profile)
        return profile

    def _write(self, profiles: Mapping[str, Profile]) -> None:
        lines = []
        for name, profile in sorted(profiles.items()):
            # Quoted, because a name may hold a dot; JSON strings without control characters are TOML strings.
            lines.append(f"[profiles.{json.dumps(name)}]")
            values = ((field.name, getattr(profile, field.name)) for field in fields(Profile))
            lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values]
            lines.append("")
        write_private(self.path, "\n".join(lines).encode())


def check_profile(name: str, profile: Profile) -> None:
    """Refuse a profile that leads nowhere."""
    parts = urlsplit(profile.endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise UsageFault(
            f"profile {name!r}: endpoint {profile.endpoint!r} is not a URL like https://s3.example.org:9000"
        )
    for field in ("endpoint", "access_key", "secret_key", "region"):
        value = getattr(profile, field)
        if not value or not value.isprintable():
            raise UsageFault(f"profile {name!r}: {field} is empty or holds a control character: set it again")


def _refuse_unknown(path: Path, where: str, table: Mapping[str, object], known: set[str]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise UsageFault(f"{path}: unknown setting {where}{key}: {hint}")
