"""The table of operations: method and path, the permission each needs, and what answers it."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from hosu.server.http import Response
from hosu.server.minio_admin import account, config, groups, info, keys, kms, other, policies, quota, users
from hosu.server.minio_admin.call import AdminCall

ADMIN, KMS = "/minio/admin/v3/", "/minio/kms/v1/"

Handler = Callable[[AdminCall], Awaitable[Response]]


class Operation(NamedTuple):
    """One operation. Its handler asks for `action`, or for what the parameters make of it; none is for everybody."""

    method: str
    path: str
    action: str
    handler: Handler


OPERATIONS = (
    # Users
    Operation("PUT", ADMIN + "add-user", "admin:CreateUser", users.add_user),
    Operation("GET", ADMIN + "list-users", "admin:ListUsers", users.list_all),
    Operation("GET", ADMIN + "user-info", "admin:GetUser", users.info),
    Operation("PUT", ADMIN + "set-user-status", "admin:EnableUser", users.set_status),
    Operation("DELETE", ADMIN + "remove-user", "admin:DeleteUser", users.remove),
    # Groups
    Operation("PUT", ADMIN + "update-group-members", "admin:AddUserToGroup", groups.update_members),
    Operation("GET", ADMIN + "groups", "admin:ListGroups", groups.list_all),
    Operation("GET", ADMIN + "group", "admin:GetGroup", groups.info),
    Operation("PUT", ADMIN + "set-group-status", "admin:EnableGroup", groups.set_status),
    # Policies
    Operation("PUT", ADMIN + "add-canned-policy", "admin:CreatePolicy", policies.create),
    Operation("GET", ADMIN + "list-canned-policies", "admin:ListUserPolicies", policies.list_all),
    Operation("GET", ADMIN + "info-canned-policy", "admin:GetPolicy", policies.info),
    Operation("DELETE", ADMIN + "remove-canned-policy", "admin:DeletePolicy", policies.remove),
    Operation("PUT", ADMIN + "set-user-or-group-policy", "admin:AttachUserOrGroupPolicy", policies.set_for),
    Operation("POST", ADMIN + "idp/builtin/policy/attach", "admin:UpdatePolicyAssociation", policies.attach_policies),
    Operation("POST", ADMIN + "idp/builtin/policy/detach", "admin:UpdatePolicyAssociation", policies.detach_policies),
    Operation("GET", ADMIN + "idp/builtin/policy-entities", "admin:ListUserPolicies", policies.entities),
    # Service accounts and sessions
    Operation("PUT", ADMIN + "add-service-account", "admin:CreateServiceAccount", keys.add),
    Operation("POST", ADMIN + "update-service-account", "admin:UpdateServiceAccount", keys.update),
    Operation("DELETE", ADMIN + "delete-service-account", "admin:RemoveServiceAccount", keys.delete),
    Operation("GET", ADMIN + "info-service-account", "admin:ListServiceAccounts", keys.info),
    Operation("GET", ADMIN + "list-service-accounts", "admin:ListServiceAccounts", keys.list_of_user),
    Operation("GET", ADMIN + "list-access-keys-bulk", "admin:ListServiceAccounts", keys.list_in_bulk),
    Operation("GET", ADMIN + "info-access-key", "admin:ListServiceAccounts", keys.info_of_any),
    Operation("GET", ADMIN + "temporary-account-info", "admin:ListTemporaryAccounts", keys.info_of_session),
    # State and usage
    Operation("GET", ADMIN + "info", "admin:ServerInfo", info.server_info),
    Operation("GET", ADMIN + "accountinfo", "", account.account_info),
    Operation("GET", ADMIN + "datausageinfo", "admin:DataUsageInfo", info.data_usage),
    Operation("POST", ADMIN + "background-heal/status", "admin:Heal", other.heal_status),
    # Quotas
    Operation("PUT", ADMIN + "set-bucket-quota", "admin:SetBucketQuota", quota.set_for_bucket),
    Operation("GET", ADMIN + "get-bucket-quota", "admin:GetBucketQuota", quota.get_of_bucket),
    # Configuration
    Operation("GET", ADMIN + "get-config-kv", "admin:ConfigUpdate", config.get),
    Operation("PUT", ADMIN + "set-config-kv", "admin:ConfigUpdate", config.change),
    Operation("DELETE", ADMIN + "del-config-kv", "admin:ConfigUpdate", config.reset),
    Operation("GET", ADMIN + "help-config-kv", "admin:ConfigUpdate", config.describe),
    Operation("GET", ADMIN + "config", "admin:ConfigUpdate", config.get_all),
    Operation("PUT", ADMIN + "config", "admin:ConfigUpdate", config.change),
    Operation("GET", ADMIN + "list-config-history-kv", "admin:ConfigUpdate", config.history),
    Operation("PUT", ADMIN + "restore-config-history-kv", "admin:ConfigUpdate", config.restore),
    # Named keys
    Operation("POST", ADMIN + "kms/key/create", "admin:KMSCreateKey", kms.create_key),
    Operation("GET", ADMIN + "kms/key/status", "admin:KMSKeyStatus", kms.key_status),
    Operation("POST", KMS + "key/create", "kms:CreateKey", kms.create_key),
    Operation("GET", KMS + "key/status", "kms:KeyStatus", kms.key_status),
    # What hosu does not have, and says so
    Operation("GET", ADMIN + "idp-config/openid", "admin:ConfigUpdate", other.idp_config),
    Operation("GET", ADMIN + "idp-config/ldap", "admin:ConfigUpdate", other.idp_config),
    Operation("POST", ADMIN + "idp/ldap/policy/attach", "admin:UpdatePolicyAssociation", other.ldap),
    Operation("POST", ADMIN + "idp/ldap/policy/detach", "admin:UpdatePolicyAssociation", other.ldap),
    Operation("GET", ADMIN + "idp/ldap/policy-entities", "admin:ListUserPolicies", other.ldap),
    Operation("GET", ADMIN + "idp/ldap/list-access-keys", "admin:ListServiceAccounts", other.ldap),
    Operation("GET", ADMIN + "idp/ldap/list-access-keys-bulk", "admin:ListServiceAccounts", other.ldap),
    Operation("GET", ADMIN + "tier", "admin:ListTier", other.tiers),
    Operation("GET", ADMIN + "list-jobs", "admin:ListBatchJobs", other.batch_jobs),
    Operation("GET", ADMIN + "site-replication/info", "admin:SiteReplicationInfo", other.site_replication_info),
    Operation("GET", ADMIN + "site-replication/status", "admin:SiteReplicationInfo", other.site_replication_status),
    Operation("PUT", ADMIN + "site-replication/add", "admin:SiteReplicationAdd", other.site_replication_change),
    Operation("PUT", ADMIN + "site-replication/edit", "admin:SiteReplicationInfo", other.site_replication_change),
    Operation("PUT", ADMIN + "site-replication/remove", "admin:SiteReplicationRemove", other.site_replication_change),
    Operation("POST", ADMIN + "service", "admin:ServiceRestart", other.service),
    Operation("POST", ADMIN + "update", "admin:ServerUpdate", other.update),
)

_BY_PATH = {(operation.method, operation.path.encode()): operation for operation in OPERATIONS}


def find_operation(method: str, raw_path: bytes) -> Operation | None:
    """Return the operation of a request; None for what hosu does not know."""
    return _BY_PATH.get((method, raw_path))
