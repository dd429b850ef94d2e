"""Whether a bucket policy is public, as S3 means it."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from hosu.identity.policy.model import Policy, Statement
from hosu.identity.policy.operators import Condition
from hosu.identity.policy.values import Networks

_SOURCE_IP = "aws:sourceip"
_FIXING_KEYS = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceowner",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    }
)
"""Keys whose fixed values tell who asks."""

_PREFIX_MIN = {4: 8, 6: 32}
"""Ranges of addresses that are broader than this are the public."""

_PRIVATE = [ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


def is_public(policy: Policy) -> bool:
    """Whether the policy allows anything to others than fixed principals, or requests that fixed values tell apart.

    Denies do not make a policy less public.
    """
    return any(statement.is_allow and _is_public(statement) for statement in policy.statements)


def _is_public(statement: Statement) -> bool:
    principals = statement.principals
    if principals is None:
        return False
    is_fixed = not (
        principals.is_not or principals.is_everyone or any(it.startswith("Federated:") for it in principals.outsiders)
    )
    return not is_fixed and not any(_tells_apart(condition) for condition in statement.conditions)


def _tells_apart(condition: Condition) -> bool:
    """Whether a condition holds only for a fixed set of those who ask."""
    if not condition.needs_key or not condition.texts:
        return False
    if condition.key == _SOURCE_IP and isinstance(condition.values, Networks):
        return not any(_is_broad(network) for network in condition.values.networks)
    if condition.key == "aws:userid" and any(text.endswith(":*") for text in condition.texts):
        return False
    return condition.key in _FIXING_KEYS and condition.values.is_exact


def _is_broad(network: IPv4Network | IPv6Network) -> bool:
    if any(private.version == network.version and network.subnet_of(private) for private in _PRIVATE):  # type: ignore[arg-type]
        return False
    return network.prefixlen < _PREFIX_MIN[network.version]
