"""ACLs: who a bucket or object belongs to, whom it lets in beside policies, and when that counts for nothing.

They are S3's older way to give access. A bucket's ownership says whether they apply at all; where they do not,
everything in the bucket belongs to its owner and access is a matter of policies alone. An ACL can only allow: what
a policy denies stays denied.
"""

import hashlib
from functools import lru_cache

import msgspec

from hosu.identity.accounts import Known
from hosu.identity.users import list_user_names
from hosu.kernel.auth import NO_CONTEXT, Context, Principal
from hosu.kernel.errors import NotFoundError
from hosu.objects.read import find
from hosu.objects.records import Acl, Grant
from hosu.objects.store import ObjectStore
from hosu.objects.views import View

ROOT = ""
"""The account of the lake's root."""

ROOT_ID = "6f8c1f1bb3b2d0c1d4e1f77bfa2a3b6c2f4f0d6e2ab0c95d7e8a90b1c2d3e4f5"
ROOT_NAME = "hosu"

READ, WRITE, READ_ACP, WRITE_ACP, FULL_CONTROL = "READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"
PERMISSIONS = (READ, WRITE, READ_ACP, WRITE_ACP, FULL_CONTROL)

USER, GROUP = "user", "group"
ALL_USERS, AUTHENTICATED_USERS = "AllUsers", "AuthenticatedUsers"
PUBLIC_GROUPS = frozenset({ALL_USERS, AUTHENTICATED_USERS})

ENFORCED, PREFERRED, WRITER = "BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"
OWNERSHIPS = (ENFORCED, PREFERRED, WRITER)

ACL, OWNERSHIP, PUBLIC_ACCESS_BLOCK = "acl", "ownership", "public-access-block"
"""Kinds of the documents of a bucket that are read here."""

BUCKET_PERMISSIONS = {
    "s3:ListBucket": READ,
    "s3:ListBucketVersions": READ,
    "s3:ListBucketMultipartUploads": READ,
    "s3:PutObject": WRITE,
    "s3:DeleteObject": WRITE,
    "s3:AbortMultipartUpload": WRITE,
    "s3:ListMultipartUploadParts": WRITE,
    "s3:GetBucketAcl": READ_ACP,
    "s3:PutBucketAcl": WRITE_ACP,
}
"""Actions that the ACL of a bucket decides, and what it must grant."""

OBJECT_PERMISSIONS = {
    "s3:GetObject": READ,
    "s3:GetObjectVersion": READ,
    "s3:GetObjectAcl": READ_ACP,
    "s3:GetObjectVersionAcl": READ_ACP,
    "s3:PutObjectAcl": WRITE_ACP,
    "s3:PutObjectVersionAcl": WRITE_ACP,
}
"""Actions that the ACL of an object decides."""

OWNER_ACTIONS = frozenset({"s3:DeleteObjectVersion"})
"""Actions that an ACL of a bucket allows its owner alone."""

BUCKETS_KEPT_MAX = 4096


class PublicAccessBlock(msgspec.Struct, frozen=True, omit_defaults=False, rename="pascal"):
    """The four switches of a bucket that hold public access back."""

    block_public_acls: bool = False
    ignore_public_acls: bool = False
    block_public_policy: bool = False
    restrict_public_buckets: bool = False


NO_BLOCK = PublicAccessBlock()
_decode_block = msgspec.json.Decoder(PublicAccessBlock).decode
_decode_acl = msgspec.json.Decoder(Acl).decode


class BucketFacts(msgspec.Struct, frozen=True):
    """What a bucket's own documents say about access, its policy left out."""

    owner: str
    ownership: str
    """The one that counts: the bucket's own, or the lake's."""

    is_ownership_set: bool
    acl: Acl
    block: PublicAccessBlock

    @property
    def has_acls(self) -> bool:
        """Whether ACLs count in this bucket."""
        return self.ownership != ENFORCED


class Acls:
    """What the ACLs of a lake allow. `ownership` counts for buckets that say nothing; `root` is root's access key."""

    def __init__(self, store: ObjectStore, *, ownership: str = ENFORCED, root: str = "") -> None:
        self._store = store
        self.ownership = ownership
        """What counts for buckets that say nothing."""
        self._root = root
        self._kept: tuple[int, dict[str, BucketFacts]] = (-1, {})
        self._users: tuple[int, dict[str, str]] = (-1, {})

    def facts(self, bucket: str) -> BucketFacts | None:
        """Return what decides about access to a bucket beside policies; None for a bucket that is not there."""
        number = self._store.generation.number()
        kept_number, kept = self._kept
        if kept_number != number or len(kept) > BUCKETS_KEPT_MAX:
            kept = {}
            self._kept = (number, kept)
        found = kept.get(bucket)
        if found is None:
            view = self._store.view()
            is_past = view.connection.in_transaction  # a reader's moment, which may be before the last change
            found = read_facts(view, bucket, self.ownership)
            if found is not None and not is_past:
                kept[bucket] = found
        return found

    def account_of(self, principal: Principal) -> str | None:
        """Return the user whose buckets and objects a principal's are: empty for root, None for nobody."""
        if principal.is_root:
            return ROOT
        if not principal.access_key:
            return None
        name = principal.parent or principal.name
        if name != self._root:
            return name
        # Where root was given the name of a user, that user's keys stay the user's.
        is_users = isinstance(principal, Known) and principal.rights is not None and not principal.rights.is_root
        return name if is_users else ROOT

    def user_with_id(self, wanted: str) -> str | None:
        """Return the user that a canonical id names; None for an id of no user, which root's is too."""
        number = self._store.generation.number()
        kept_number, users = self._users
        if kept_number != number:  # one look at all users serves every grant of every ACL
            users = {canonical_id(name): name for name in list_user_names(self._store.view())}
            self._users = (number, users)
        return users.get(wanted)

    def allows(self, account: str | None, action: str, resource: str, context: Context = NO_CONTEXT) -> bool:
        """Whether an ACL lets an account, or with None a caller without a signature, do this."""
        bucket, _, key = resource.partition("/")
        facts = self.facts(bucket)
        if facts is None or not facts.has_acls:
            return False
        wanted = OBJECT_PERMISSIONS.get(action)
        acl: Acl | None = facts.acl
        if wanted is not None:
            acl = self.object_acl(facts, bucket, key, _version_of(context))
            if acl is None:
                return False
        elif action in OWNER_ACTIONS:
            return account is not None and account == facts.owner and self.allows(account, "s3:DeleteObject", resource)
        else:
            wanted = BUCKET_PERMISSIONS.get(action)
            if wanted is None:
                return False
        assert acl is not None
        if account is not None and account == acl.owner and wanted in {READ_ACP, WRITE_ACP}:
            return True
        return any(
            grant.permission in {wanted, FULL_CONTROL} and _is_for(grant, account, facts.block) for grant in acl.grants
        )

    def object_acl(self, facts: BucketFacts, bucket: str, key: str, version_id: str | None) -> Acl | None:
        """Return the ACL of an object, or of one version; None for one that is not there."""
        view = self._store.view()
        try:
            with view.snapshot():
                record = find(view, bucket, key, version_id)
        except NotFoundError:
            return None
        return record.attributes.acl or default_acl(facts.owner)

    def owner_of(self, action: str, bucket: str, key: str, version_id: str | None) -> str | None:
        """Return who owns what an action is about: the object where its own ACL decides, else the bucket."""
        facts = self.facts(bucket)
        if facts is None:
            return None
        if facts.has_acls and key and action in OBJECT_PERMISSIONS:
            acl = self.object_acl(facts, bucket, key, version_id)
            return facts.owner if acl is None else acl.owner
        return facts.owner


def read_facts(view: View, bucket: str, ownership: str = ENFORCED) -> BucketFacts | None:
    """Read what a bucket's documents say; None for a bucket that is not there."""
    rows = view.rows(
        "SELECT owner, kind, body FROM bucket LEFT JOIN bucket_document ON bucket_id = id AND kind IN (?, ?, ?) "
        "WHERE name = ?",
        (ACL, OWNERSHIP, PUBLIC_ACCESS_BLOCK, bucket),
    )
    if not rows:
        return None
    owner = rows[0][0]
    documents = {kind: body for _, kind, body in rows}
    return BucketFacts(
        owner=owner,
        ownership=documents.get(OWNERSHIP, ownership),
        is_ownership_set=OWNERSHIP in documents,
        acl=Acl(owner, _decode_acl(documents[ACL]).grants) if ACL in documents else default_acl(owner),
        block=_decode_block(documents[PUBLIC_ACCESS_BLOCK]) if PUBLIC_ACCESS_BLOCK in documents else NO_BLOCK,
    )


def default_acl(owner: str) -> Acl:
    """Return the ACL of what never got one: full control for its owner."""
    return Acl(owner, (Grant(USER, owner, FULL_CONTROL),))


def is_public(acl: Acl) -> bool:
    """Whether an ACL lets in everybody, or everybody with a key."""
    return any(grant.kind == GROUP and grant.name in PUBLIC_GROUPS for grant in acl.grants)


@lru_cache(maxsize=4096)
def canonical_id(account: str) -> str:
    """Return the id by which ACLs and owners name an account."""
    if account == ROOT:
        return ROOT_ID
    return hashlib.sha256(b"hosu user\0" + account.encode()).hexdigest()


def display_name(account: str) -> str:
    """Return the name shown beside an account's id."""
    return account or ROOT_NAME


def _is_for(grant: Grant, account: str | None, block: PublicAccessBlock) -> bool:
    if grant.kind == USER:
        return account is not None and grant.name == account
    if block.ignore_public_acls:
        return False
    return grant.name == ALL_USERS or (grant.name == AUTHENTICATED_USERS and account is not None)


def _version_of(context: Context) -> str | None:
    values = context.values("s3:versionid")
    return values[0] if values else None
