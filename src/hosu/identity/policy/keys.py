"""Condition keys: the facts of a request that conditions and variables may name, and which of them exist here."""

from difflib import get_close_matches

from hosu.identity.policy.patterns import PatternError


def _keys(names: str) -> frozenset[str]:
    return frozenset(names.split())


VALUED_KEYS = _keys(
    """
    aws:CurrentTime aws:EpochTime aws:PrincipalArn aws:PrincipalType aws:Referer aws:ResourceAccount
    aws:SecureTransport aws:SourceIp aws:UserAgent aws:groups aws:userid aws:username jwt: s3:ExistingObjectTag/
    s3:LocationConstraint s3:RequestObjectTag/ s3:RequestObjectTagKeys s3:ResourceAccount s3:TlsVersion s3:VersionId
    s3:authType s3:delimiter s3:if-match s3:if-none-match s3:max-keys s3:object-lock-legal-hold s3:object-lock-mode
    s3:object-lock-remaining-retention-days s3:object-lock-retain-until-date s3:prefix s3:signatureAge
    s3:signatureversion
    s3:x-amz-acl s3:x-amz-content-sha256 s3:x-amz-copy-source s3:x-amz-grant-full-control s3:x-amz-grant-read
    s3:x-amz-grant-read-acp s3:x-amz-grant-write s3:x-amz-grant-write-acp s3:x-amz-metadata-directive
    s3:x-amz-object-lock-legal-hold s3:x-amz-object-lock-mode s3:x-amz-object-lock-retain-until-date
    s3:x-amz-object-ownership s3:x-amz-server-side-encryption s3:x-amz-server-side-encryption-aws-kms-key-id
    s3:x-amz-server-side-encryption-customer-algorithm s3:x-amz-storage-class
    """
)
"""Keys that requests to this lake may have; `/` or `:` at the end stands for any name after it."""

ABSENT_KEYS = _keys(
    """
    aws:AssumedRoot aws:CalledVia aws:CalledViaFirst aws:CalledViaLast aws:ChatbotSourceArn
    aws:Ec2InstanceSourcePrivateIPv4 aws:Ec2InstanceSourceVpc aws:FederatedProvider aws:IsMcpServiceAction
    aws:MultiFactorAuthAge aws:MultiFactorAuthPresent aws:PrincipalAccount aws:PrincipalIsAWSService
    aws:PrincipalOrgID aws:PrincipalOrgPaths aws:PrincipalServiceName aws:PrincipalServiceNamesList
    aws:PrincipalTag/ aws:RequestTag/ aws:RequestedRegion aws:ResourceOrgID aws:ResourceOrgPaths aws:ResourceTag/
    aws:SourceAccount aws:SourceArn aws:SourceIdentity aws:SourceOrgID aws:SourceOrgPaths aws:SourceOwner
    aws:SourceVpc aws:SourceVpcArn aws:SourceVpce aws:TagKeys aws:TokenIssueTime aws:ViaAWSService aws:VpcSourceIp
    aws:VpceAccount aws:VpceOrgID aws:VpceOrgPaths kms:BypassPolicyLockoutSafetyCheck kms:CallerAccount
    kms:CustomerMasterKeySpec kms:CustomerMasterKeyUsage kms:EncryptionAlgorithm kms:EncryptionContext:
    kms:EncryptionContextKeys kms:GrantIsForAWSResource kms:KeyOrigin kms:KeySpec kms:KeyUsage kms:MultiRegion
    kms:RequestAlias kms:ResourceAliases kms:ViaService ldap: s3:AccessGrantsInstanceArn s3:AccessPointNetworkOrigin
    s3:BucketTag/ s3:DataAccessPointAccount s3:DataAccessPointArn s3:ExistingJobOperation s3:ExistingJobPriority
    s3:InventoryAccessibleOptionalFields s3:JobSuspendedCause s3:ObjectCreationOperation s3:RequestJobOperation
    s3:RequestJobPriority s3:destinationRegion s3:isReplicationPauseRequest
    s3:x-amz-object-lock-remaining-retention-days s3:x-amz-website-redirect-location sts:DurationSeconds sts:ExternalId
    sts:RoleSessionName sts:SourceIdentity sts:TransitiveTagKeys svc:DurationSeconds
    """
)
"""Keys that policies in use name and no request to this lake has: conditions on them see them absent."""

CONDITION_KEYS = VALUED_KEYS | ABSENT_KEYS
PRINCIPAL_KEYS = frozenset({"aws:groups", "aws:principalarn", "aws:principaltype", "aws:userid", "aws:username"})
"""Keys whose values belong to who asks, and stay the same from one request to the next."""

_PRINCIPAL_NAMESPACES = ("jwt:", "ldap:")

KEY_LENGTH_MAX = 256

_ALIASES = {"aws:referrer": "aws:referer", "x-amz-content-sha256": "s3:x-amz-content-sha256"}
"""Spellings that MinIO's documents give."""

_WHOLE = frozenset(key.lower() for key in CONDITION_KEYS if key[-1] not in "/:")
_OPEN = frozenset(key.lower() for key in CONDITION_KEYS if key[-1] in "/:")


def read_key(text: str) -> str:
    """Return a condition key in lower case, but for the name of a tag; raise PatternError for an unknown one."""
    lower = text.lower()
    if lower in _WHOLE:
        return lower
    if lower in _ALIASES:
        return _ALIASES[lower]
    before, slash, tag = text.partition("/")
    if slash and tag and before.lower() + slash in _OPEN:
        return f"{before.lower()}/{tag}"
    for namespace in _OPEN:
        if namespace.endswith(":") and lower.startswith(namespace) and len(lower) > len(namespace):
            return lower
    near = get_close_matches(lower, [*_WHOLE, *_OPEN], 1)
    remedy = f"did you mean {near[0]}" if near else "docs/reference/policies.md lists those that exist"
    raise PatternError(f"'{text[:KEY_LENGTH_MAX]}' is no condition key: {remedy}")


def is_of_principal(key: str) -> bool:
    """Whether a key, in lower case, describes who asks and not what is asked for."""
    return key in PRINCIPAL_KEYS or key.startswith(_PRINCIPAL_NAMESPACES)
