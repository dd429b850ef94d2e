"""The principals of a bucket policy's statement: whom it speaks about."""

import re
from collections.abc import Sequence

import msgspec

from hosu.identity.policy.patterns import PatternError

PRINCIPAL_KINDS = ("AWS", "CanonicalUser", "Federated", "Service")

_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_ROOT = re.compile(r"arn:aws:iam::(\d{12}):root", re.ASCII)
_ARN_FIELDS = 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Principals(msgspec.Struct, frozen=True):
    """Everyone (`*`), or those known by one of the names; with `is_not` all but those.

    `outsiders` are services and identity providers, who never ask this lake as themselves.
    """

    is_not: bool
    is_everyone: bool
    names: frozenset[str]
    outsiders: tuple[str, ...] = ()

    def holds(self, principal_ids: Sequence[str]) -> bool:
        """Whether the statement speaks about someone known by these names."""
        return (self.is_everyone or not self.names.isdisjoint(principal_ids)) is not self.is_not


def read_principal(kind: str, text: str) -> list[str]:
    """Return the names that a principal is known by; raise PatternError.

    An account is named by its twelve digits or by the ARN of its root alike.
    """
    if not text or _CONTROL.search(text):
        raise PatternError("a principal is empty or has control characters")
    if kind == "AWS" and text == "*":
        return [text]
    if set(text) & {"*", "?"}:
        raise PatternError(
            f'\'{text}\' has a wildcard, which principals do not take beside a lone "AWS": "*": '
            'write "*" and a condition ArnLike on aws:PrincipalArn'
        )
    if kind == "AWS" and text.startswith("arn:"):
        fields = text.split(":", _ARN_FIELDS - 1)
        if len(fields) != _ARN_FIELDS or fields[2] not in {"iam", "sts"} or not fields[-1]:
            raise PatternError(f"'{text}' is no principal: write arn:aws:iam:::user/NAME")
    if kind == "AWS" and _ACCOUNT.fullmatch(text):
        return [text, f"arn:aws:iam::{text}:root"]
    if kind == "AWS" and (root := _ROOT.fullmatch(text)):
        return [text, root[1]]
    return [text]
