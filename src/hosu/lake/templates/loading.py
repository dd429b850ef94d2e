"""Reading a template, and refusing one that would fail half-way."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

import msgspec

from hosu.identity.policy import BUILTIN_POLICIES, PolicyKind, parse_policy
from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.lake.templates.rules import LifecycleTemplate, ProtectionTemplate, check_rules
from hosu.objects.names import check_bucket_name, check_key
from hosu.rules.capacity import CapacityRule
from hosu.rules.merit import MeritRule

FOLDER = Path(__file__).parent
FILE_NAME = "template.toml"


class BucketTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bucket. A folder is a prefix that gets a placeholder while nothing is stored below it."""

    name: str
    folders: tuple[str, ...] = ()
    aliases: dict[str, str] = {}
    """Prefixes that read as other prefixes."""

    versioning: bool = False
    """Whether the bucket keeps versions from its making on."""

    lifecycle: tuple[LifecycleTemplate, ...] = ()


class UserTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user with the policies it gets when it is made; its secret is generated then."""

    name: str
    policies: tuple[str, ...] = ()


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of `template.toml`."""

    summary: str
    buckets: tuple[BucketTemplate, ...] = ()
    users: tuple[UserTemplate, ...] = ()
    capacity: CapacityRule | None = None
    merit: tuple[MeritRule, ...] = ()
    protection: tuple[ProtectionTemplate, ...] = ()


class Template(msgspec.Struct, frozen=True):
    """A template, checked: every policy is valid, and every alias and user refers to what the template makes."""

    name: str
    summary: str
    buckets: tuple[BucketTemplate, ...]
    policies: Mapping[str, str]
    """Texts by name."""

    users: tuple[UserTemplate, ...]
    capacity: CapacityRule | None = None
    merit: tuple[MeritRule, ...] = ()
    protection: tuple[ProtectionTemplate, ...] = ()


def template_names() -> list[str]:
    """Return the templates that hosu brings."""
    return sorted(file.parent.name for file in FOLDER.glob(f"*/{FILE_NAME}"))


def load_template(name: str | os.PathLike[str]) -> Template:
    """Return one of hosu's templates by name, or one of your own by the path of its folder (which holds a '/').

    Raises NotFoundError INVALID_ARGUMENT when there is none, InvalidInputError INVALID_ARGUMENT, which names the file
    and what is wrong, or POLICY_INVALID.
    """
    text = os.fspath(name)
    folder = Path(text) if os.sep in text else FOLDER / text
    if not (folder / FILE_NAME).is_file():
        raise _unknown(text, folder)
    try:
        raw = tomllib.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        document = msgspec.convert(raw, Document)
        policies = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.json"))}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, OSError) as error:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"{folder} is not a template: {error}", path=str(folder)
        ) from error
    template = Template(
        folder.resolve().name, document.summary, document.buckets, policies, document.users,
        document.capacity, document.merit, document.protection,
    )  # fmt: skip
    _Check(template, folder).all()
    return template


def _unknown(text: str, folder: Path) -> HosuError:
    if os.sep in text:
        return NotFoundError(ErrorKind.INVALID_ARGUMENT, f"{folder / FILE_NAME} does not exist: check the path")
    names = template_names()
    near = difflib.get_close_matches(text, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    return NotFoundError(
        ErrorKind.INVALID_ARGUMENT, f"there is no template {text!r}: {hint} (a folder of your own needs a '/')"
    )


class _Check:
    def __init__(self, template: Template, folder: Path) -> None:
        self._template = template
        self._folder = folder

    def all(self) -> None:
        template = self._template
        for name, text in template.policies.items():
            self._policy(name, text)
        self._once("bucket", [bucket.name for bucket in template.buckets])
        self._once("user", [user.name for user in template.users])
        for bucket in template.buckets:
            self._bucket(bucket)
        for user in template.users:
            for policy in user.policies:
                if policy not in template.policies and policy not in BUILTIN_POLICIES:
                    self._refuse(f"user {user.name!r} has the policy {policy!r}: add {policy}.json")
        try:
            check_rules(template)
        except HosuError as error:
            self._refuse(error.message)

    def _policy(self, name: str, text: str) -> None:
        try:
            parse_policy(text, PolicyKind.IDENTITY)
        except HosuError as error:
            raise InvalidInputError(
                error.kind, f"{self._folder / name}.json: {error.message}", **error.details
            ) from error

    def _bucket(self, bucket: BucketTemplate) -> None:
        check_bucket_name(bucket.name)
        self._once(f"folder of bucket {bucket.name!r}", bucket.folders)
        for prefix in (*bucket.folders, *bucket.aliases):
            check_key(prefix)
            if not prefix.endswith("/"):
                self._refuse(f"prefix {prefix!r} of bucket {bucket.name!r} must end with '/'")
        for prefix, target in bucket.aliases.items():
            if target not in bucket.folders:
                self._refuse(f"alias {prefix!r} of bucket {bucket.name!r} points to {target!r}: add it to its folders")

    def _once(self, what: str, names: Iterable[str]) -> None:
        seen: set[str] = set()
        for name in names:
            if name in seen:
                self._refuse(f"{what} {name!r} is there twice: leave one")
            seen.add(name)

    def _refuse(self, reason: str) -> NoReturn:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{self._folder / FILE_NAME}: {reason}")
