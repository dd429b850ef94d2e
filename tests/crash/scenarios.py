"""What is interrupted: for each verb, a lake prepared for it and the operation."""

import random
from functools import partial
from typing import NamedTuple

import msgspec
from tests.crash.lakes import BUCKET, LARGE, SMALL, Operation, put, stage
from tests.support.pictures import photo

from hosu.objects import aliases, buckets, multipart
from hosu.objects.coding.recoding import recode
from hosu.objects.copying import copy_stored
from hosu.objects.delete import delete_object
from hosu.objects.encryption import DEFAULT_KEY, EncryptionMode, rotation
from hosu.objects.encryption.defaults import DOCUMENT, BucketEncryption, encode_bucket_encryption
from hosu.objects.importing import ImportedPart, ImportedVersion, import_key
from hosu.objects.protected import ProtectedPrefix
from hosu.objects.put import CopyRequest, copy_object, set_acl, set_legal_hold, set_retention
from hosu.objects.quota import set_quota
from hosu.objects.records import COLD, Acl, Attributes, Grant, LockMode, Versioning
from hosu.objects.retention import BucketLock, set_bucket_lock
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.rules.protection import protect


class Scenario(NamedTuple):
    name: str
    setup: tuple[Operation, ...]
    operation: Operation


def create_bucket(store: ObjectStore) -> None:
    store.commit(partial(buckets.create_bucket, name=BUCKET))


def limit_bucket(store: ObjectStore) -> None:
    store.commit(partial(set_quota, name=BUCKET, quota_bytes=1 << 40))


def enable_versioning(store: ObjectStore) -> None:
    store.commit(partial(buckets.set_versioning, name=BUCKET, versioning=Versioning.ENABLED))


def encrypt_bucket(store: ObjectStore) -> None:
    document = encode_bucket_encryption(BucketEncryption(EncryptionMode.SSE_S3))
    store.commit(partial(buckets.set_document, name=BUCKET, kind=DOCUMENT, body=document))


def rotate_key(store: ObjectStore) -> None:
    store.keys.rotate_key(DEFAULT_KEY)


def rewrap_blobs(store: ObjectStore) -> None:
    rotation.rewrap_blobs(store, DEFAULT_KEY)


def decrypting(source: str, key: str) -> Operation:
    request = CopyRequest(BUCKET, source, BUCKET, key)
    return lambda store: copy_stored(store, BUCKET, source, None, lambda _: request, None)


def putting(key: str, body: bytes) -> Operation:
    return lambda store: put(store, key, body)


def deleting(key: str) -> Operation:
    return lambda store: store.commit(partial(delete_object, bucket_name=BUCKET, key=key))


def copying(source: str, key: str) -> Operation:
    request = CopyRequest(BUCKET, source, BUCKET, key)
    return lambda store: store.commit(partial(copy_object, request=request))


def _upload_of(store: ObjectStore) -> multipart.Upload:
    return multipart.list_uploads(store.view(), BUCKET).uploads[0]


def begin_upload(store: ObjectStore) -> None:
    verb = partial(
        multipart.create_upload,
        bucket_name=BUCKET,
        key="parts",
        attributes=Attributes(),
        encryption=store.keys.facts_of(store.encryption_of(BUCKET)),
    )
    store.commit(verb)


def adding_part(number: int, body: bytes) -> Operation:
    def add(store: ObjectStore) -> None:
        upload_id = _upload_of(store).upload_id
        staged = stage(store, body)
        verb = partial(
            multipart.add_part,
            bucket_name=BUCKET,
            key="parts",
            upload_id=upload_id,
            number=number,
            body=staged,
            etag=f"{number:032x}",
        )
        store.commit(verb)

    return add


def complete(store: ObjectStore) -> None:
    upload = _upload_of(store)
    stored = multipart.list_parts(store.view(), upload)
    named = [multipart.CompletedPart(part.number, part.etag) for part in stored]
    request = multipart.CompleteRequest(BUCKET, "parts", upload.upload_id, named)
    store.commit(partial(multipart.complete_upload, request=request))


def abort(store: ObjectStore) -> None:
    upload_id = _upload_of(store).upload_id
    store.commit(partial(multipart.abort_upload, bucket_name=BUCKET, key="parts", upload_id=upload_id))


def share(store: ObjectStore) -> None:
    acl = Acl("", (Grant("group", "AllUsers", "READ"),))
    store.commit(partial(set_acl, bucket_name=BUCKET, key="k", version_id=None, acl=acl))


def create_vault(store: ObjectStore) -> None:
    store.commit(partial(buckets.create_bucket, name=BUCKET, is_lockable=True))


def retain(store: ObjectStore) -> None:
    store.commit(
        partial(
            set_retention, bucket_name=BUCKET, key="k", version_id=None, mode=LockMode.COMPLIANCE,
            retain_until_ms=4_000_000_000_000,
        )
    )  # fmt: skip


def hold(store: ObjectStore) -> None:
    store.commit(partial(set_legal_hold, bucket_name=BUCKET, key="k", version_id=None, is_on=True))


def lock_by_default(store: ObjectStore) -> None:
    store.commit(partial(set_bucket_lock, name=BUCKET, lock=BucketLock(LockMode.GOVERNANCE, days=1)))


def guard(store: ObjectStore) -> None:
    store.commit(partial(protect, entry=ProtectedPrefix(BUCKET, "models/")))


def pointing(target: str) -> Operation:
    return lambda store: store.commit(
        partial(aliases.set_alias, bucket_name=BUCKET, prefix="models/current/", target=target)
    )


def cooling(key: str) -> Operation:
    def cool(store: ObjectStore) -> None:
        oldest = "SELECT min(seq) FROM (SELECT key, seq FROM object UNION SELECT key, seq FROM version) WHERE key = ?"
        assert recode(store, BUCKET, key, store.view().value(oldest, (key,)), storage_class=COLD) is not None

    return cool


def importing(key: str) -> Operation:
    def bring(store: ObjectStore) -> None:
        parts = (ImportedPart(1, stage(store, LARGE)), ImportedPart(3, stage(store, SMALL)))
        versions = (
            ImportedVersion(version_id=f"{1:08x}-0000-0000-0000-000000000000", modified_ms=1, body=stage(store, A)),
            ImportedVersion(version_id=f"{2:08x}-0000-0000-0000-000000000000", modified_ms=2, is_marker=True),
            ImportedVersion(version_id="null", modified_ms=3, parts=parts),
        )
        store.commit(partial(import_key, bucket_name=BUCKET, key=key, versions=versions, newest_seq=0))

    return bring


def importing_over(key: str) -> Operation:
    def bring(store: ObjectStore) -> None:
        seq = store.view().value("SELECT seq FROM object WHERE key = ?", (key,))
        version = ImportedVersion(version_id="null", modified_ms=3, body=stage(store, B))
        verb = partial(import_key, bucket_name=BUCKET, key=key, versions=(version,), newest_seq=seq, replaces_null=True)
        store.commit(verb)

    return bring


def sweep_all(store: ObjectStore) -> None:
    sweep(store, grace_ms=0, orphan_ms=0)


def leave_orphan(store: ObjectStore) -> None:
    stage(store, LARGE + b"without a record")


def create_lake(_: ObjectStore) -> None:
    """Do nothing: opening the lake is the operation."""


A, B = b"A" * len(LARGE), b"B" * len(LARGE)
SEGMENTS = b"of several segments " * 8_000
TINY = b"of several pages " * 600
NOISE = random.Random(1).randbytes(len(LARGE))
PICTURE = photo(400, 300)

SCENARIOS = [
    Scenario("create bucket", (), create_bucket),
    Scenario("inline put", (create_bucket,), putting("k", SMALL)),
    Scenario("file put", (create_bucket,), putting("k", LARGE)),
    Scenario("file put of stored bytes", (create_bucket, putting("twin", LARGE)), putting("k", LARGE)),
    Scenario("overwrite inline", (create_bucket, putting("k", b"old")), putting("k", SMALL)),
    Scenario("overwrite file", (create_bucket, putting("k", A)), putting("k", B)),
    Scenario("versioned put", (create_bucket, enable_versioning, putting("k", A)), putting("k", B)),
    Scenario("import", (create_bucket,), importing("k")),
    Scenario("import over an object", (create_bucket, putting("k", A)), importing_over("k")),
    Scenario("copy", (create_bucket, putting("s", LARGE), putting("k", SMALL)), copying("s", "k")),
    Scenario("encrypted inline put", (create_bucket, encrypt_bucket), putting("k", SMALL)),
    Scenario("encrypted file put", (create_bucket, encrypt_bucket, putting("k", SMALL)), putting("k", SEGMENTS)),
    Scenario(
        "encrypted put of stored bytes",
        (create_bucket, encrypt_bucket, putting("twin", SEGMENTS)),
        putting("k", SEGMENTS),
    ),
    Scenario("copy under another key", (create_bucket, encrypt_bucket, putting("s", SEGMENTS)), decrypting("s", "k")),
    Scenario(
        "complete encrypted multipart",
        (create_bucket, encrypt_bucket, begin_upload, adding_part(1, SEGMENTS), adding_part(2, SMALL)),
        complete,
    ),
    Scenario("rotate a key", (create_bucket, encrypt_bucket, putting("k", LARGE)), rotate_key),
    Scenario(
        "wrap blobs again",
        (create_bucket, encrypt_bucket, putting("k", SMALL), putting("l", SEGMENTS), rotate_key),
        rewrap_blobs,
    ),
    Scenario("create a bucket with object lock", (), create_vault),
    Scenario("default retention", (create_vault,), lock_by_default),
    Scenario("retention", (create_vault, putting("k", LARGE)), retain),
    Scenario("legal hold", (create_vault, putting("k", SMALL), retain), hold),
    Scenario("protection", (create_bucket, putting("models/a", LARGE)), guard),
    Scenario("compress a small object", (create_bucket, putting("k", TINY)), cooling("k")),
    Scenario("compress a file", (create_bucket, putting("k", LARGE)), cooling("k")),
    Scenario("leave a file as it is", (create_bucket, putting("k", NOISE)), cooling("k")),
    Scenario("compress a picture", (create_bucket, putting("k", PICTURE)), cooling("k")),
    Scenario(
        "compress an old version",
        (create_bucket, enable_versioning, putting("k", A), putting("k", B)),
        cooling("k"),
    ),
    Scenario("compress an encrypted file", (create_bucket, encrypt_bucket, putting("k", SEGMENTS)), cooling("k")),
    Scenario(
        "compress parts",
        (create_bucket, begin_upload, adding_part(1, A), adding_part(2, TINY), adding_part(3, NOISE), complete),
        cooling("parts"),
    ),
    Scenario("warm a file", (create_bucket, putting("s", LARGE), cooling("s")), decrypting("s", "k")),
    Scenario("share an object", (create_bucket, putting("k", LARGE)), share),
    Scenario("set a quota", (create_bucket, putting("k", LARGE)), limit_bucket),
    Scenario("put under a quota", (create_bucket, limit_bucket, putting("k", A)), putting("k", B)),
    Scenario("delete", (create_bucket, putting("k", LARGE)), deleting("k")),
    Scenario("delete behind a marker", (create_bucket, enable_versioning, putting("k", LARGE)), deleting("k")),
    Scenario(
        "replace a part",
        (create_bucket, begin_upload, adding_part(1, A), adding_part(2, SMALL)),
        adding_part(1, B),
    ),
    Scenario(
        "complete multipart",
        (create_bucket, putting("parts", SMALL), begin_upload, adding_part(1, A), adding_part(3, B)),
        complete,
    ),
    Scenario("abort multipart", (create_bucket, begin_upload, adding_part(1, A)), abort),
    Scenario(
        "alias switch",
        (create_bucket, putting("models/v1/m", SMALL), putting("models/v2/m", LARGE), pointing("models/v1/")),
        pointing("models/v2/"),
    ),
    Scenario(
        "sweep",
        (
            create_bucket,
            putting("kept", B),
            putting("gone", A),
            deleting("gone"),
            begin_upload,
            adding_part(1, A + A),
            adding_part(2, SMALL),
            complete,
            deleting("parts"),
            leave_orphan,
        ),
        sweep_all,
    ),
]


class Seen(msgspec.Struct):
    """How often each side of an interruption was found after a restart."""

    old: int = 0
    new: int = 0
