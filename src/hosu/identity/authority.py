"""The one decision function: who may do what, for every protocol of the lake.

Everything that decides is read when it is first needed, and kept until `Generation` says that access has changed:
then all of it is read again. Ten thousand users and a thousand policies cost nothing until they ask.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hmac import compare_digest

import msgspec

from hosu.identity.accounts import (
    ANONYMOUS_RIGHTS,
    IN_PROCESS_RIGHTS,
    Account,
    Known,
    Loader,
    Rights,
    parsed,
    policy_set,
)
from hosu.identity.acl import PUBLIC_ACCESS_BLOCK, Acls, PublicAccessBlock
from hosu.identity.explanation import Considered, Explanation, describe_statement, statement_text
from hosu.identity.keys import get_key
from hosu.identity.policy import Decision, Effect, NamedPolicy, PolicyKind, PolicySet, Question, is_public
from hosu.identity.sessions import token_digest
from hosu.identity.users import get_user, user_not_found
from hosu.identity.vault import Vault
from hosu.kernel.auth import ANONYMOUS, IN_PROCESS, NO_CONTEXT, Context, Principal, token_error
from hosu.kernel.errors import AccessDeniedError, ErrorKind, NotFoundError
from hosu.objects.buckets import get_document
from hosu.objects.store import ObjectStore
from hosu.objects.views import View

__all__ = ["Authority", "Vault"]

ACCOUNTS_MAX = 4096
BUCKETS_MAX = 4096
"""Access keys and buckets remembered by a process: the least lately used are read again."""

MENDING = frozenset({"s3:DeleteBucketPolicy", "s3:GetBucketPolicy", "s3:PutBucketPolicy"})
"""What no bucket policy can keep from root, so that nobody is ever locked out of a lake."""

ROOT, NOTHING = "root", "nothing allows it"


class BucketRules(msgspec.Struct, frozen=True):
    """What a bucket says about access. `is_closed` is whether its policy lets nobody in who has not signed."""

    policy: PolicySet | None = None
    named: NamedPolicy | None = None
    is_closed: bool = False


NO_RULES = BucketRules()


class _UnrememberedError(Exception):
    """Carries what was read and must be read again: what is nobody's, or was read at an earlier moment."""

    def __init__(self, found: object) -> None:
        super().__init__()
        self.found = found


class _Memory:
    """What was read since access changed for the `number`-th time."""

    def __init__(self, store: ObjectStore, loader: Loader, number: int) -> None:
        self.number = number
        self._store = store
        self._loader = loader
        self._account = lru_cache(maxsize=ACCOUNTS_MAX)(self._read_account)
        self._bucket = lru_cache(maxsize=BUCKETS_MAX)(self._read_bucket)

    def account(self, access_key: str) -> Account | None:
        try:
            return self._account(access_key)
        except _UnrememberedError as unremembered:
            return unremembered.found  # type: ignore[return-value]

    def bucket(self, name: str) -> BucketRules:
        try:
            return self._bucket(name)
        except _UnrememberedError as unremembered:
            return unremembered.found  # type: ignore[return-value]

    def _read_account(self, access_key: str) -> Account:
        view = self._store.view()
        is_past = view.connection.in_transaction  # a reader's moment, which may be before the last change
        with view.snapshot():
            account = self._loader.account(view, access_key)
        if account is None or is_past:
            raise _UnrememberedError(account)  # strangers' keys would push out those of friends
        return account

    def _read_bucket(self, name: str) -> BucketRules:
        view = self._store.view()
        is_past = view.connection.in_transaction
        try:
            with view.snapshot():
                rules = read_bucket_rules(view, name)
        except NotFoundError as error:
            raise _UnrememberedError(NO_RULES) from error
        if is_past:
            raise _UnrememberedError(rules)
        return rules


def read_bucket_rules(view: View, name: str) -> BucketRules:
    """Return what a bucket says about access; raises `NotFoundError` for one that is not there."""
    text = get_document(view, name, "policy")
    if text is None:
        return NO_RULES
    policy = parsed(text, PolicyKind.BUCKET, name)
    block = get_document(view, name, PUBLIC_ACCESS_BLOCK)
    is_restricted = block is not None and msgspec.json.decode(block, type=PublicAccessBlock).restrict_public_buckets
    named = NamedPolicy(f"bucket policy of {name}", policy)
    return BucketRules(PolicySet([named]), named, is_restricted and is_public(policy))


class Authority:
    """Knows access keys and decides: implements `Keyring` and `Authorizer` of `hosu.kernel.auth`.

    One for each process, safe to use from several threads. `root` is the name and secret of root, who is in no table;
    both are empty where nobody knows who root is. `acls` are asked where no policy has spoken.
    """

    def __init__(self, store: ObjectStore, root: tuple[str, str], *, acls: Acls | None = None) -> None:
        self.vault = Vault(store, root[0])
        self._store = store
        self._root = root
        self._acls = Acls(store, root=root[0]) if acls is None else acls
        self._number = store.generation.number
        self._memory = self._renew(self._number())

    def __repr__(self) -> str:
        return f"<Authority of {self._store.path}>"

    def _renew(self, number: int) -> _Memory:
        """Forget everything: access has changed since it was read."""
        memory = self._memory = _Memory(self._store, Loader(self.vault, self._root, number), number)
        return memory

    def _now(self) -> _Memory:
        number, memory = self._number(), self._memory
        return memory if memory.number == number else self._renew(number)

    # Keyring

    def secrets(self, access_key: str) -> Sequence[str]:
        """Return the secrets an access key may sign with now; none if it is unknown, disabled or expired."""
        memory = self._memory
        if memory.number != self._number():
            memory = self._now()
        account = memory.account(access_key)
        if account is None:
            return ()
        if account.expires_ms or account.old_secret:
            return account.secrets(self._store.clock.now_ms())
        return (account.secret,)

    def principal(self, access_key: str, token: str | None) -> Principal:
        """Return who signs with an access key and this session token.

        Raises AccessDeniedError of kind SESSION_TOKEN_INVALID when the key needs another token, or none.
        """
        account = self._now().account(access_key)
        if account is None:
            raise AccessDeniedError(ErrorKind.ACCESS_DENIED, f"access key {access_key!r} may not sign any more")
        if account.token:
            if not token or not compare_digest(token_digest(token), account.token):
                raise token_error()
        elif token:
            raise token_error()
        return account.principal

    # Authorizer

    def authorize(self, principal: Principal, action: str, resource: str, context: Context) -> None:
        """Return when principal may do action on resource; else raise AccessDeniedError."""
        if not self.is_allowed(principal, action, resource, context):
            # The message does not say by what: policies are not for whoever asks. The audit log does.
            raise AccessDeniedError(
                ErrorKind.ACCESS_DENIED,
                f"{principal.name} may not {action} on {resource or 'this lake'}",
                action=action,
                statement=describe_statement(self.decide(principal, action, resource, context)),
            )

    def is_allowed(self, principal: Principal, action: str, resource: str, context: Context) -> bool:
        """Say whether principal may do action on resource (`bucket/key`, or empty for the whole service)."""
        memory = self._memory
        if memory.number != self._number():
            memory = self._now()
        if isinstance(principal, Known) and principal.number == memory.number:
            rights = principal.rights
        else:
            rights = self._rights(memory, principal)
        if rights is None:
            return False
        rules = _rules(memory, rights, action, resource)
        is_root = rights.is_root
        if is_root and rules.policy is None and rights.cut is None:
            return True
        question = Question(action, resource, context, rights.values, rights.ids)
        allows = is_root
        if not is_root and rights.policies is not None:
            own = rights.policies.decide(question)
            if own is Effect.DENY:
                return False
            allows = own is Effect.ALLOW
        if rules.policy is not None:
            shared = rules.policy.decide(question)
            if shared is Effect.DENY:
                return False
            allows = allows or (shared is Effect.ALLOW and not (rules.is_closed and rights is ANONYMOUS_RIGHTS))
        if not allows and not self._has_grant(principal, action, resource, context):
            return False
        return rights.cut is None or rights.cut.decide(question) is Effect.ALLOW

    def decide(self, principal: Principal, action: str, resource: str, context: Context) -> Decision:
        """Decide as `is_allowed` does, and say by what: a policy by name, "root", or "nothing allows it"."""
        return self._explain(principal, action, resource, context).decision

    def explain(self, name: str, action: str, resource: str, context: Context = NO_CONTEXT) -> Explanation:
        """Say whether a user, or an access key, may do action on resource, by which statement, and what else spoke.

        `anonymous` is whoever does not sign. Raises `NotFoundError` for a name that nobody has.
        """
        if name == ANONYMOUS.name:
            return self._explain(ANONYMOUS, action, resource, context)
        account = self._now().account(name)
        if account is not None and account.secrets(self._store.clock.now_ms()):
            return self._explain(account.principal, action, resource, context)
        if name == self._root[0] and name:
            return self._explain(Principal(name, name, is_root=True), action, resource, context)
        reason = self._why_not(name)
        return Explanation(name, Decision(Effect.DENY, reason), reason, "", ())

    def withholds(self, principal: Principal, action: str, resource: str, context: Context) -> bool:
        """Say whether principal may not do this whatever allows it: by a deny, or because its key is cut down."""
        memory = self._now()
        rights = self._rights(memory, principal)
        if rights is None:
            return True
        rules = _rules(memory, rights, action, resource)
        question = Question(action, resource, context, rights.values, rights.ids)
        for policies in (rights.policies, rules.policy):
            if policies is not None and policies.decide(question) is Effect.DENY:
                return True
        return rights.cut is not None and rights.cut.decide(question) is not Effect.ALLOW

    def visible_buckets(self, principal: Principal, names: Iterable[str], context: Context) -> list[str]:
        """Return the buckets that principal may see listed: all with s3:ListAllMyBuckets, else those it may look at."""
        if self.is_allowed(principal, "s3:ListAllMyBuckets", "", context):
            return list(names)
        looks = ("s3:ListBucket", "s3:GetBucketLocation")
        return [name for name in names if any(self.is_allowed(principal, look, name, context) for look in looks)]

    # How

    def _rights(self, memory: _Memory, principal: Principal) -> Rights | None:
        """Return the rights that a principal has now, whenever it was handed out; None for one that is gone."""
        if isinstance(principal, Known) and principal.number == memory.number:
            return principal.rights
        if principal is IN_PROCESS or (principal.is_root and not principal.access_key):
            return IN_PROCESS_RIGHTS
        if principal.is_root and not principal.parent:
            return Loader(self.vault, self._root, memory.number).root_rights()
        if principal is ANONYMOUS or principal == ANONYMOUS:
            return ANONYMOUS_RIGHTS
        account = memory.account(principal.access_key or principal.name)
        return None if account is None else account.rights

    def _has_grant(self, principal: Principal, action: str, resource: str, context: Context) -> bool:
        """Say whether an ACL allows what no policy has spoken about."""
        if not resource or action[:3] != "s3:":
            return False
        acls = self._acls
        return acls.allows(acls.account_of(principal), action, resource, context)

    def _explain(self, principal: Principal, action: str, resource: str, context: Context) -> Explanation:
        """Ask every policy by itself; the fast way asks them together, and answers the same."""
        memory = self._now()
        rights = self._rights(memory, principal)
        if rights is None:
            return Explanation(principal.name, Decision(Effect.DENY, NOTHING), NOTHING, "", ())
        rules = _rules(memory, rights, action, resource)
        question = Question(action, resource, context, rights.values, rights.ids)
        considered = [_consider(policy_set([entry]), entry, question, "policy") for entry in rights.named]
        if rights.is_root:
            considered.append(Considered("root", ROOT, Effect.ALLOW, -1, ""))
        if rules.policy is not None and rules.named is not None:
            entry = _consider(rules.policy, rules.named, question, "bucket policy")
            if entry.effect is Effect.ALLOW and rules.is_closed and rights is ANONYMOUS_RIGHTS:
                entry = Considered("public access block", f"public access block of {resource.partition('/')[0]}")
            considered.append(entry)
        denial = next((entry for entry in considered if entry.effect is Effect.DENY), None)
        grant = next((entry for entry in considered if entry.effect is Effect.ALLOW), None)
        if grant is None and denial is None and self._has_grant(principal, action, resource, context):
            grant = Considered("acl", f"ACL of {resource}", Effect.ALLOW)
            considered.append(grant)
        if rights.cut is not None and rights.cut_name is not None and denial is None:
            cut = _consider(rights.cut, rights.cut_name, question, "cut")
            considered.append(cut)
            if grant is not None and cut.effect is not Effect.ALLOW:
                # A policy that cuts refuses by its silence as well.
                denial = msgspec.structs.replace(cut, effect=Effect.DENY)
        decisive = denial or grant
        if decisive is None:
            return Explanation(principal.name, Decision(Effect.NONE, NOTHING), NOTHING, "", tuple(considered))
        decision = Decision(decisive.effect, decisive.policy, decisive.statement, decisive.sid)
        everything = (*rights.named, rules.named, rights.cut_name)
        text = statement_text([entry for entry in everything if entry is not None], decision)
        return Explanation(principal.name, decision, decisive.policy, text, tuple(considered))

    def _why_not(self, name: str) -> str:
        """Say why a name that somebody has may not sign."""
        view = self._store.view()
        try:
            key = get_key(view, name)
        except NotFoundError:
            try:
                get_user(view, name)
            except NotFoundError:
                raise user_not_found(name) from None
            return f"user {name} is disabled"
        if not key.is_enabled:
            return f"access key {name} is disabled"
        if key.expires_ms and key.expires_ms <= view.now_ms:
            return f"access key {name} has expired"
        return f"the parent {key.parent} of access key {name} is disabled or removed"


def _rules(memory: _Memory, rights: Rights, action: str, resource: str) -> BucketRules:
    """Return the rules of the bucket that an action is about, as far as they hold whoever has these rights."""
    if not resource or action[:3] != "s3:" or (rights.is_root and (action in MENDING or rights is IN_PROCESS_RIGHTS)):
        return NO_RULES
    return memory.bucket(resource.partition("/")[0])


def _consider(policy: PolicySet, entry: NamedPolicy, question: Question, kind: str) -> Considered:
    decision = policy.explain(question)
    return Considered(kind, entry.name, decision.effect, decision.statement, decision.sid)
