"""Names of events: those that S3's clients ask for, and what in the change feed they stand for."""

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.objects.feed import Event

LIFECYCLE = "hosu:lifecycle"
"""Who does what lifecycle rules say."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "s3:BucketCreated": (),
    "s3:BucketRemoved": (),
    "s3:LifecycleExpiration": ("Delete", "DeleteMarkerCreated"),
    "s3:LifecycleTransition": (),
    "s3:ObjectAccessed": ("Attributes", "Get", "GetLegalHold", "GetRetention", "Head"),
    "s3:ObjectAcl": ("Put",),
    "s3:ObjectCreated": (
        "CompleteMultipartUpload", "Copy", "Post", "Put", "PutLegalHold", "PutRetention",
    ),
    "s3:ObjectRemoved": ("Delete", "DeleteMarkerCreated"),
    "s3:ObjectRestore": ("Completed", "Post"),
    "s3:ObjectTagging": ("Delete", "Put"),
    "s3:ObjectTransition": ("Complete", "Failed"),
}  # fmt: skip
"""Events by family; `FAMILY:*` is all of one. Nothing of a lake needs restoring: of that family none ever happens."""

ALIASES = {
    "s3:LifecycleTransition": "s3:ObjectTransition:Complete",
    "s3:ObjectCreated:DeleteTagging": "s3:ObjectTagging:Delete",
    "s3:ObjectCreated:PutTagging": "s3:ObjectTagging:Put",
}
"""Other names of events: S3's for a transition, MinIO's for tags."""

ACCESSED = "s3:ObjectAccessed:"
"""Begins the names of events that are about reads."""

ACCESS_KINDS = {
    "GetObject": "ObjectAccessed:Get",
    "GetObjectAttributes": "ObjectAccessed:Attributes",
    "GetObjectLegalHold": "ObjectAccessed:GetLegalHold",
    "GetObjectRetention": "ObjectAccessed:GetRetention",
    "HeadObject": "ObjectAccessed:Head",
}
"""What a read is in the change feed, by its operation."""

_LISTED = {f"{family}:{name}" for family, names in FAMILIES.items() for name in names or ("*",)}
_OF_KIND = {
    "BucketCreated": "s3:BucketCreated:*",
    "BucketRemoved": "s3:BucketRemoved:*",
    "ObjectLegalHold:Put": "s3:ObjectCreated:PutLegalHold",
    "ObjectRetention:Put": "s3:ObjectCreated:PutRetention",
    "ObjectTransition:Complete": "s3:ObjectTransition:Complete",
}
"""Names of kinds in the feed that are called otherwise there."""


def expand(name: str) -> frozenset[str]:
    """Return the events that a name of a configuration stands for. Raises InvalidInputError for one that is none."""
    if name in ALIASES:
        return frozenset((ALIASES[name],))
    family, star, rest = name.rpartition(":*")
    if star and not rest and family in FAMILIES:
        if family == "s3:LifecycleTransition":
            return frozenset((ALIASES[family],))
        return frozenset(f"{family}:{each}" for each in FAMILIES[family] or ("*",))
    if name not in _LISTED:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            "A specified event is not supported for notifications.",
            argument_name="Event",
            argument_value=name,
        )
    return frozenset((name,))


def expand_all(names: tuple[str, ...]) -> frozenset[str]:
    """Return the events that several names stand for."""
    return frozenset().union(*map(expand, names))


def name_of(event: Event) -> str | None:
    """Return what an event of the feed is called; None for what nobody is told of."""
    kind = event.kind
    if event.actor == LIFECYCLE and kind.startswith("ObjectRemoved:"):
        return f"s3:LifecycleExpiration:{kind.partition(':')[2]}"
    name = _OF_KIND.get(kind) or f"s3:{kind}"
    return name if name in _LISTED else None
