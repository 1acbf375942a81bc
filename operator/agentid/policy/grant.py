"""What an identity is given: everything that a certificate says or hangs on, nothing that moves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.api.vocabulary import DeliveryMode, Instances, Tier
from agentid.errors import InputError, InternalError
from agentid.identity import SpiffeId
from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.authorized_policy import AuthorizedPolicy, AuthorizedSchedule
from agentid.policy.permissions import Permissions

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.identity import AgentPath

__all__ = ["Grant", "takes_away"]

_VERSION: Final = 2
"""Of the JSON form; the ledger keeps grants for as long as their certificates live."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What `judge` allows. Two grants that differ need different certificates.

    Attributes:
        spiffe_id: Who the agent is, without a pod's part.
        class_name: Its AgentClass.
        issuer_name: The AgentIssuer that signs.
        sponsor: Who answers for it, None if nobody is named and the class asks for nobody.
        tier: How strictly the certificate is handled.
        permissions: What it may do.
        lifetime: Of each certificate; the tier's limit is in it already.
        key_algorithm: Of the agent's key.
        delivery: The door the certificate leaves through.
        instances: Whether pods share the SPIFFE ID.
        service_account: The ServiceAccount that its pods run as.
        secret_name: The Secret to deliver to, None if the door is another one.
        policy_oid: The certificate policy of the class, dotted.
        cps_uri: Where that policy is explained, None if nowhere.
        critical: Whether the authorization extension is critical.
        ephemeral: Whether certificates live so briefly that no revocation is published for them
            (RFC 9608).
    """

    spiffe_id: SpiffeId
    class_name: str
    issuer_name: str
    sponsor: str | None
    tier: Tier
    permissions: Permissions
    lifetime: timedelta
    key_algorithm: KeyAlgorithm
    delivery: DeliveryMode
    instances: Instances
    service_account: str
    secret_name: str | None
    policy_oid: str
    cps_uri: str | None
    critical: bool
    ephemeral: bool

    @property
    def agent(self) -> AgentPath:
        """Namespace and name of the AgentIdentity.

        Raises:
            InternalError: The SPIFFE ID is not an agent's; `judge` grants no other.
        """
        if (path := self.spiffe_id.agent) is None:
            msg = f"a grant holds {self.spiffe_id}, which is not the SPIFFE ID of an agent"
            raise InternalError(msg)
        return path

    @property
    def authorized(self) -> AuthorizedPolicy:
        """The permissions as a certificate says them."""
        asked = self.permissions
        schedule = asked.schedule
        return AuthorizedPolicy(
            systems=asked.systems,
            operations=asked.operations,
            schedule=None
            if schedule is None
            else AuthorizedSchedule(schedule.time_zone, schedule.windows),
            compliance=asked.compliance,
        )

    def to_json(self) -> str:
        """Write the grant canonically: equal grants make equal text."""
        return json.dumps(
            {
                "version": _VERSION,
                "spiffeID": str(self.spiffe_id),
                "class": self.class_name,
                "issuer": self.issuer_name,
                "sponsor": self.sponsor,
                "tier": self.tier,
                "permissions": self.permissions.to_json(),
                "lifetimeSeconds": int(self.lifetime.total_seconds()),
                "keyAlgorithm": self.key_algorithm,
                "delivery": self.delivery,
                "instances": self.instances,
                "serviceAccount": self.service_account,
                "secretName": self.secret_name,
                "policyOID": self.policy_oid,
                "cpsURI": self.cps_uri,
                "critical": self.critical,
                "ephemeral": self.ephemeral,
            },
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=True,
        )

    @classmethod
    def from_json(cls, text: str) -> Grant:
        """Read what `to_json` writes.

        Raises:
            InputError: The text is something else.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            msg = "grant: the text is not JSON; the ledger record that holds it is damaged"
            raise InputError(msg) from error
        match data:
            case {
                "version": 2,
                "spiffeID": str(spiffe_id),
                "class": str(class_name),
                "issuer": str(issuer_name),
                "sponsor": str() | None as sponsor,
                "tier": str(tier),
                "permissions": permissions,
                "lifetimeSeconds": int(seconds),
                "keyAlgorithm": str(algorithm),
                "delivery": str(delivery),
                "instances": str(instances),
                "serviceAccount": str(service_account),
                "secretName": str() | None as secret_name,
                "policyOID": str(policy_oid),
                "cpsURI": str() | None as cps_uri,
                "critical": bool(critical),
                "ephemeral": bool(ephemeral),
            } if 0 < seconds <= _MAX_SECONDS:
                try:
                    return cls(
                        spiffe_id=SpiffeId.parse(spiffe_id),
                        class_name=class_name,
                        issuer_name=issuer_name,
                        sponsor=sponsor,
                        tier=Tier(tier),
                        permissions=Permissions.from_json(permissions),
                        lifetime=timedelta(seconds=seconds),
                        key_algorithm=KeyAlgorithm(algorithm),
                        delivery=DeliveryMode(delivery),
                        instances=Instances(instances),
                        service_account=service_account,
                        secret_name=secret_name,
                        policy_oid=policy_oid,
                        cps_uri=cps_uri,
                        critical=critical,
                        ephemeral=ephemeral,
                    )
                except ValueError as error:
                    msg = f"grant: {error}; a newer release of agentid may have written it"
                    raise InputError(msg) from error
            case _:
                msg = (
                    "grant: a field is missing or of the wrong type, or the version is not "
                    f"{_VERSION}; a newer release of agentid may have written it"
                )
                raise InputError(msg)


_MAX_SECONDS: Final = 366 * 24 * 3600
"""No certificate of an agent ever lived for longer; a bound for what is read back."""


def takes_away(old: Grant, new: Grant, now: datetime) -> bool:
    """Whether a certificate under the old grant gives something that the new one does not.

    If so it has to be revoked once the new one is delivered, or else it may run out by itself.

    Args:
        old: What the certificate in use was issued under.
        new: What is granted now.
        now: From when on schedules of different zones are compared.

    Returns:
        True if the SPIFFE ID or the ServiceAccount is another, permissions shrank, the lifetime was
        cut, or delivery through a Secret is over, where the old key may still lie.
    """
    return (
        old.spiffe_id != new.spiffe_id
        or old.service_account != new.service_account
        or old.instances is not new.instances
        or new.lifetime < old.lifetime
        or (old.delivery is DeliveryMode.SECRET and new.delivery is not DeliveryMode.SECRET)
        or not old.permissions.within(new.permissions, now=now)
    )
