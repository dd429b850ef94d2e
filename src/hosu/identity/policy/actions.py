"""The names of actions, and what a pattern of actions matches."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache

from hosu.identity.policy.patterns import Match, PatternError, matcher, read_wildcards


def _named(service: str, names: str) -> frozenset[str]:
    return frozenset(f"{service}:{name}" for name in names.split())


SERVICE_ACTIONS = _named(
    "s3",
    """
    ListAllMyBuckets ListenNotification GetAccountPublicAccessBlock PutAccountPublicAccessBlock
    """,
)
"""Actions of S3 on the whole service: their resource is empty, which `*` and `arn:aws:s3:::*` match."""

BUCKET_ACTIONS = _named(
    "s3",
    """
    CreateBucket DeleteBucket ForceDeleteBucket HeadBucket ListBucket ListBucketMultipartUploads ListBucketVersions
    GetBucketLocation GetBucketVersioning PutBucketVersioning GetBucketAcl PutBucketAcl
    GetBucketPolicy PutBucketPolicy DeleteBucketPolicy GetBucketPolicyStatus
    GetBucketPublicAccessBlock PutBucketPublicAccessBlock GetBucketOwnershipControls PutBucketOwnershipControls
    GetBucketTagging PutBucketTagging GetBucketCORS PutBucketCORS
    GetEncryptionConfiguration PutEncryptionConfiguration GetLifecycleConfiguration PutLifecycleConfiguration
    GetBucketNotification PutBucketNotification ListenBucketNotification
    GetBucketObjectLockConfiguration PutBucketObjectLockConfiguration
    GetReplicationConfiguration PutReplicationConfiguration ResetBucketReplicationState PauseReplication
    GetBucketLogging PutBucketLogging GetBucketWebsite PutBucketWebsite DeleteBucketWebsite
    GetBucketRequestPayment PutBucketRequestPayment GetAccelerateConfiguration PutAccelerateConfiguration
    GetAnalyticsConfiguration PutAnalyticsConfiguration GetInventoryConfiguration PutInventoryConfiguration
    GetMetricsConfiguration PutMetricsConfiguration
    GetIntelligentTieringConfiguration PutIntelligentTieringConfiguration
    CreateBucketMetadataTableConfiguration GetBucketMetadataTableConfiguration DeleteBucketMetadataTableConfiguration
    """,
)
"""Actions of S3 on a bucket: their resource is its name."""

OBJECT_ACTIONS = _named(
    "s3",
    """
    GetObject PutObject DeleteObject GetObjectVersion DeleteObjectVersion
    GetObjectAttributes GetObjectVersionAttributes
    GetObjectAcl PutObjectAcl GetObjectVersionAcl PutObjectVersionAcl
    GetObjectTagging PutObjectTagging DeleteObjectTagging
    GetObjectVersionTagging PutObjectVersionTagging DeleteObjectVersionTagging
    AbortMultipartUpload ListMultipartUploadParts RestoreObject PutObjectFanOut GetObjectTorrent GetObjectVersionTorrent
    GetObjectRetention PutObjectRetention GetObjectLegalHold PutObjectLegalHold BypassGovernanceRetention
    ReplicateObject ReplicateDelete ReplicateTags GetObjectVersionForReplication InitiateReplication
    ObjectOwnerOverrideToBucketOwner
    """,
)
"""Actions of S3 on an object: their resource is bucket/key."""

OTHER_S3_ACTIONS = _named(
    "s3",
    """
    AssociateAccessGrantsIdentityCenter CreateAccessGrant CreateAccessGrantsInstance CreateAccessGrantsLocation
    CreateAccessPoint CreateAccessPointForObjectLambda CreateJob CreateMultiRegionAccessPoint CreateStorageLensGroup
    DeleteAccessGrant DeleteAccessGrantsInstance DeleteAccessGrantsInstanceResourcePolicy DeleteAccessGrantsLocation
    DeleteAccessPoint DeleteAccessPointForObjectLambda DeleteAccessPointPolicy DeleteAccessPointPolicyForObjectLambda
    DeleteJobTagging DeleteMultiRegionAccessPoint DeleteStorageLensConfiguration DeleteStorageLensConfigurationTagging
    DeleteStorageLensGroup DescribeJob DescribeMultiRegionAccessPointOperation DissociateAccessGrantsIdentityCenter
    GetAccessGrant GetAccessGrantsInstance GetAccessGrantsInstanceForPrefix GetAccessGrantsInstanceResourcePolicy
    GetAccessGrantsLocation GetAccessPoint GetAccessPointConfigurationForObjectLambda GetAccessPointForObjectLambda
    GetAccessPointPolicy GetAccessPointPolicyForObjectLambda GetAccessPointPolicyStatus
    GetAccessPointPolicyStatusForObjectLambda GetDataAccess GetJobTagging GetMultiRegionAccessPoint
    GetMultiRegionAccessPointPolicy GetMultiRegionAccessPointPolicyStatus GetMultiRegionAccessPointRoutes
    GetStorageLensConfiguration GetStorageLensConfigurationTagging GetStorageLensDashboard GetStorageLensGroup
    ListAccessGrants ListAccessGrantsInstances ListAccessGrantsLocations ListAccessPoints
    ListAccessPointsForObjectLambda ListCallerAccessGrants ListJobs ListMultiRegionAccessPoints
    ListStorageLensConfigurations ListStorageLensGroups ListTagsForResource PutAccessGrantsInstanceResourcePolicy
    PutAccessPointConfigurationForObjectLambda PutAccessPointPolicy PutAccessPointPolicyForObjectLambda
    PutAccessPointPublicAccessBlock PutJobTagging PutMultiRegionAccessPointPolicy PutStorageLensConfiguration
    PutStorageLensConfigurationTagging SubmitMultiRegionAccessPointRoutes TagResource UntagResource
    UpdateAccessGrantsLocation UpdateJobPriority UpdateJobStatus UpdateStorageLensGroup
    """,
)
"""Actions of S3 that AWS's policies name and no request to this lake asks for."""

ADMIN_ACTIONS = _named(
    "admin",
    """
    ServerInfo StorageInfo DataUsageInfo OBDInfo LicenseInfo Prometheus BandwidthMonitor ConsoleLog ServerTrace
    Profiling TopLocksInfo ForceUnlock InspectData Heal ServerUpdate ServiceRestart ServiceStop ServiceFreeze
    ConfigUpdate
    CreateUser DeleteUser ListUsers EnableUser DisableUser GetUser
    AddUserToGroup RemoveUserFromGroup GetGroup ListGroups EnableGroup DisableGroup
    CreatePolicy DeletePolicy GetPolicy AttachUserOrGroupPolicy UpdatePolicyAssociation ListUserPolicies
    CreateServiceAccount UpdateServiceAccount RemoveServiceAccount ListServiceAccounts ListTemporaryAccounts
    ExportIAM ImportIAM ExportBucketMetadata ImportBucketMetadata
    SetBucketQuota GetBucketQuota SetBucketTarget GetBucketTarget ReplicationDiff
    KMSCreateKey KMSKeyStatus SetTier ListTier
    ListBatchJobs DescribeBatchJob StartBatchJob CancelBatchJob GenerateBatchJob Rebalance Decommission
    SiteReplicationAdd SiteReplicationDisable SiteReplicationRemove SiteReplicationResync SiteReplicationInfo
    SiteReplicationOperation
    """,
)
"""Actions of the admin API, under MinIO's names. They have no resource."""

STS_ACTIONS = _named(
    "sts",
    """
    AssumeRole AssumeRoleWithWebIdentity AssumeRoleWithClientGrants AssumeRoleWithLDAPIdentity
    AssumeRoleWithCertificate AssumeRoleWithCustomToken AssumeRoleWithSAML AssumeRoot DecodeAuthorizationMessage
    GetAccessKeyInfo GetCallerIdentity GetFederationToken GetServiceBearerToken GetSessionToken SetContext
    SetSourceIdentity TagSession
    """,
)
"""Actions that hand out temporary credentials. They have no resource."""

KMS_ACTIONS = _named(
    "kms",
    """
    Status Metrics API Version KeyStatus CreateKey ListKeys DeleteKey ImportKey
    CancelKeyDeletion CreateAlias CreateGrant Decrypt DeleteAlias DeleteImportedKeyMaterial DeriveSharedSecret
    DescribeKey DisableKey DisableKeyRotation EnableKey EnableKeyRotation Encrypt GenerateDataKey GenerateDataKeyPair
    GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac GenerateRandom GetKeyPolicy
    GetKeyRotationStatus GetParametersForImport GetPublicKey ImportKeyMaterial ListAliases ListGrants ListKeyPolicies
    ListKeyRotations ListResourceTags ListRetirableGrants PutKeyPolicy ReEncryptFrom ReEncryptTo ReplicateKey
    RetireGrant RevokeGrant RotateKeyOnDemand ScheduleKeyDeletion Sign SynchronizeMultiRegionKey TagResource
    UntagResource UpdateAlias UpdateKeyDescription UpdatePrimaryRegion Verify VerifyMac
    """,
)
"""Actions on encryption keys, under MinIO's and AWS's names. Their resource is a key's name."""

HOSU_ACTIONS = _named("hosu", "ChangeProtected")
"""Actions that only this lake has, on objects: `s3:*` does not name them, and bucket policies cannot."""

KNOWN_ACTIONS: frozenset[str] = (
    SERVICE_ACTIONS
    | BUCKET_ACTIONS
    | OBJECT_ACTIONS
    | OTHER_S3_ACTIONS
    | ADMIN_ACTIONS
    | STS_ACTIONS
    | KMS_ACTIONS
    | HOSU_ACTIONS
)
"""Every action that policies may name; a pattern must match at least one."""

SERVICES = frozenset({"s3", "admin", "sts", "kms", "hosu"})
RESOURCELESS_SERVICES = frozenset({"admin", "sts", "kms"})
"""Services whose actions need no Resource beside them."""

ACTION_LENGTH_MAX = 128
_LOWER = {action.lower(): action for action in KNOWN_ACTIONS}


def read_action(text: str) -> str:
    """Return a pattern of actions in lower case; raise PatternError for one that matches no known action."""
    lower = text.lower()
    if len(text) <= ACTION_LENGTH_MAX and matching_actions(lower):
        return lower
    service, colon, _ = lower.partition(":")
    if colon and service not in SERVICES and not set(service) & {"*", "?"}:
        raise PatternError(
            f"'{text[:ACTION_LENGTH_MAX]}' is an action of '{service[:ACTION_LENGTH_MAX]}': "
            "this lake has those of s3, admin, sts, kms and hosu"
        )
    near = get_close_matches(lower[:ACTION_LENGTH_MAX], _LOWER, 1)
    remedy = f"did you mean {_LOWER[near[0]]}" if near else "docs/reference/policies.md lists those that exist"
    raise PatternError(f"'{text[:ACTION_LENGTH_MAX]}' matches no action: {remedy}")


@lru_cache(maxsize=1024)
def matching_actions(pattern: str) -> frozenset[str]:
    """Return the known actions, as they are written, that a pattern in lower case matches."""
    if not set(pattern) & {"*", "?"}:
        return frozenset({_LOWER[pattern]}) if pattern in _LOWER else frozenset()
    match = _glob(pattern)
    return frozenset(action for lower, action in _LOWER.items() if match(lower))


def is_matched(patterns: Sequence[str], action: str) -> bool:
    """Whether one of the patterns, in lower case, matches an action, known or not."""
    lower = action.lower()
    return any(_glob(pattern)(lower) for pattern in patterns)


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> Match:
    return matcher(read_wildcards(pattern))
