"""Makes authorities: the first ones, and what each step of a rotation asks for.

Blocking: keys are drawn and signatures made, so an event loop has it done in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError, InternalError
from agentid.identity import SerialNumber, Validity
from agentid.issuers import locations
from agentid.issuers.authority_records import IssuingEntry, RootEntry
from agentid.issuers.authority_set import (
    AuthoritySet,
    entries_of,
    file_names,
    fingerprint_of,
    with_files,
)
from agentid.issuers.builtin import BACKDATE
from agentid.issuers.jwt_keys import new_jwt_key
from agentid.pki import CertifiedKey, generate, load_private_key, make_intermediate, make_root
from agentid.pki.authority import authority_id
from agentid.pki.jws import JwtAlgorithm
from agentid.pki.load import FileNames, load_authority
from agentid.policy import authorities as records
from agentid.policy import jwt_keys
from agentid.policy.authorities import (
    Delivered,
    DropRoot,
    NoteDistrust,
    Promote,
    Remove,
    Revoke,
    Stage,
    StageGiven,
    StageIssuing,
    StageRoot,
)
from agentid.policy.jwt_keys import DropJwtKey, JwtKeyPublished, PromoteJwtKey, StageJwtKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from agentid.identity import TrustDomain
    from agentid.issuers.builtin import Random
    from agentid.pki import Authority, KeyAlgorithm
    from agentid.policy.authorities import Authorities, Step

__all__ = [
    "GIVEN_NAMES",
    "AuthoritySettings",
    "GivenAuthority",
    "carried_out",
    "first_set",
    "taken_up",
]

_SERIAL_OCTETS: Final = 16

GIVEN_NAMES: Final = FileNames(chain="tls.crt", key="tls.key", root="ca.crt", root_key="ca.key")
"""How a Secret of type kubernetes.io/tls names the files of an authority."""


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """How authorities are made, when they are made; those that exist stay as they are.

    Attributes:
        trust_domain: Whose identities they sign; it must be a host name.
        root_algorithm: The key of the root.
        root_lifetime: How long the root serves.
        intermediate_algorithm: The key of the issuing intermediate.
        intermediate_lifetime: How long the intermediate serves; at most as long as the root.
        shards: Among how many CRLs the leaves of an issuing authority are spread.
        responder: Base of the URLs where CRLs and certificates of authorities are found, without a
            slash at the end.
        jwt_algorithm: What a key for JWT-SVIDs signs with.
    """

    trust_domain: TrustDomain
    root_algorithm: KeyAlgorithm
    root_lifetime: timedelta
    intermediate_algorithm: KeyAlgorithm
    intermediate_lifetime: timedelta
    shards: int
    responder: str
    jwt_algorithm: JwtAlgorithm = JwtAlgorithm.ES256


@dataclass(frozen=True, slots=True, repr=False)
class GivenAuthority:
    """An issuing authority that somebody else has certified.

    Attributes:
        authority: Verified.
        id: First 16 hexadecimal digits of its key identifier.
        fingerprint: SHA-256 of its certificate.
        files: `GIVEN_NAMES`, the private key included.
    """

    authority: Authority
    id: str
    fingerprint: str
    files: Mapping[str, bytes]

    @classmethod
    def read(
        cls, files: Mapping[str, bytes], trust_domain: TrustDomain, now: datetime
    ) -> GivenAuthority:
        """Verify the files of a Secret.

        Raises:
            AuthorityError: Something is wrong; every fault that was found is listed.
        """
        authority = load_authority(
            chain_pem=files.get(GIVEN_NAMES.chain),
            key_pem=files.get(GIVEN_NAMES.key),
            root_pem=files.get(GIVEN_NAMES.root),
            trust_domain=trust_domain,
            now=now,
            names=GIVEN_NAMES,
        )
        certificate = authority.certificate
        return cls(authority, authority_id(certificate), fingerprint_of(certificate), dict(files))

    def __repr__(self) -> str:
        """The id; never the key."""
        return f"GivenAuthority({self.id})"


def first_set(settings: AuthoritySettings, now: datetime, random: Random) -> AuthoritySet:
    """A root and an issuing authority below it, which signs at once: nothing was before it.

    The key for JWT-SVIDs beside them is staged: it signs once a bundle with it is published.

    Raises:
        InputError: The settings cannot be met, such as an intermediate that outlives its root.
    """
    made = _with_root(None, settings, now, random, hurry=False)
    return _with_jwt_key(made, settings, now, made.records.sequence)


def carried_out(
    have: AuthoritySet,
    step: Step,
    settings: AuthoritySettings,
    now: datetime,
    random: Random,
    given: GivenAuthority | None = None,
) -> AuthoritySet:
    """What a step makes of a set; to be stored before anything is done with it.

    Raises:
        InputError: The settings cannot be met.
        InternalError: The step does not fit the set.
    """
    match step:
        case StageRoot(hurry=hurry):
            return _with_root(have, settings, now, random, hurry=hurry)
        case StageIssuing(root=root):
            return _with_issuing(have, root, settings, now, random)
        case StageGiven(hurry=hurry) if given is not None:
            return taken_up(have, given, settings, now, hurry=hurry)
        case StageGiven():
            msg = "an authority is to be taken up, and none is given"
            raise InternalError(msg)
        case StageJwtKey():
            return _with_jwt_key(have, settings, now, have.records.sequence + 1)
        case JwtKeyPublished() | PromoteJwtKey() | DropJwtKey():
            return have.with_records(_jwt_recorded(have.records, step, now.replace(microsecond=0)))
        case NoteDistrust() | Delivered() | Promote() | Remove() | Revoke() | DropRoot():
            return have.with_records(_recorded(have.records, step, now.replace(microsecond=0)))


def _jwt_recorded(
    have: Authorities, step: JwtKeyPublished | PromoteJwtKey | DropJwtKey, now: datetime
) -> Authorities:
    match step:
        case JwtKeyPublished():
            return replace(have, jwt_keys=jwt_keys.published(have.jwt_keys, step, now))
        case PromoteJwtKey():
            return replace(have, jwt_keys=jwt_keys.promoted(have.jwt_keys, step, now))
        case DropJwtKey():
            left = jwt_keys.dropped(have.jwt_keys, step)
            return replace(have, jwt_keys=left, sequence=have.sequence + 1)


def _recorded(
    have: Authorities,
    step: NoteDistrust | Delivered | Promote | Remove | Revoke | DropRoot,
    now: datetime,
) -> Authorities:
    match step:
        case NoteDistrust():
            return records.distrust_noted(have, step, now)
        case Delivered():
            return records.delivered(have, step, now)
        case Promote():
            return records.promoted(have, step, now)
        case Remove():
            return records.removed(have, step)
        case Revoke():
            return records.revoked(have, step, now)
        case DropRoot():
            return records.dropped(have, step)


def taken_up(
    have: AuthoritySet | None,
    given: GivenAuthority,
    settings: AuthoritySettings,
    now: datetime,
    *,
    hurry: bool,
) -> AuthoritySet:
    """The set with an authority that is given, and its root where that is new.

    Raises:
        InputError: It does not fit what is there.
    """
    root = authority_id(given.authority.root)
    names = file_names(given.id, root)
    files = {
        names.chain: given.files[GIVEN_NAMES.chain],
        names.key: given.files[GIVEN_NAMES.key],
        names.root: given.files[GIVEN_NAMES.root],
    }
    made = _added(have, given.id, root, files, settings, now, hurry=hurry)
    return made if have else _with_jwt_key(made, settings, now, made.records.sequence)


def _with_jwt_key(
    have: AuthoritySet, settings: AuthoritySettings, now: datetime, sequence: int
) -> AuthoritySet:
    """The set with one more key for JWT-SVIDs, which is in the bundle of this sequence."""
    entry, files = new_jwt_key(settings.jwt_algorithm, sequence, now.replace(microsecond=0))
    stored = entries_of(have)
    stored = replace(stored, jwt_keys=(entry, *stored.jwt_keys), sequence=sequence)
    return with_files(have, settings.trust_domain, files, stored)


def _with_root(
    have: AuthoritySet | None,
    settings: AuthoritySettings,
    now: datetime,
    random: Random,
    *,
    hurry: bool,
) -> AuthoritySet:
    root = make_root(
        settings.trust_domain,
        generate(settings.root_algorithm),
        Validity.of(now, settings.root_lifetime, BACKDATE),
        SerialNumber.from_random(random(_SERIAL_OCTETS)),
    )
    issuing = _intermediate(root, settings, now, random)
    root_id, issuing_id = authority_id(root.certificate), authority_id(issuing.certificate)
    names = file_names(issuing_id, root_id)
    files = {
        names.root: root.certificate_pem,
        names.root_key: root.private_key_pem,
        names.chain: issuing.certificate_pem,
        names.key: issuing.private_key_pem,
    }
    return _added(have, issuing_id, root_id, files, settings, now, hurry=hurry)


def _with_issuing(
    have: AuthoritySet, root_id: str, settings: AuthoritySettings, now: datetime, random: Random
) -> AuthoritySet:
    names = file_names("", root_id)
    key = load_private_key(have.files[names.root_key], what=names.root_key)
    root = CertifiedKey(have.roots[root_id].certificate, key)
    issuing = _intermediate(root, settings, now, random)
    issuing_id = authority_id(issuing.certificate)
    names = file_names(issuing_id, root_id)
    files = {names.chain: issuing.certificate_pem, names.key: issuing.private_key_pem}
    return _added(have, issuing_id, root_id, files, settings, now, hurry=False)


def _intermediate(
    root: CertifiedKey, settings: AuthoritySettings, now: datetime, random: Random
) -> CertifiedKey:
    root_id = authority_id(root.certificate)
    end = root.certificate.not_valid_after_utc
    if settings.intermediate_lifetime > settings.root_lifetime:
        msg = (
            f"spec.ca.builtin.intermediateLifetime: {settings.intermediate_lifetime} is longer "
            f"than the {settings.root_lifetime} of the root; shorten it"
        )
        raise InputError(msg)
    wanted = Validity.of(now, settings.intermediate_lifetime, BACKDATE, end)
    begins = max(wanted.not_before, root.certificate.not_valid_before_utc)
    return make_intermediate(
        root,
        settings.trust_domain,
        generate(settings.intermediate_algorithm),
        replace(wanted, not_before=begins),
        SerialNumber.from_random(random(_SERIAL_OCTETS)),
        crl_uri=locations.crl_uri(settings.responder, root_id, locations.ROOT_SHARD),
        ca_issuers_uri=locations.certificate_uri(settings.responder, root_id),
    )


def _added(
    have: AuthoritySet | None,
    issuing: str,
    root: str,
    files: Mapping[str, bytes],
    settings: AuthoritySettings,
    now: datetime,
    *,
    hurry: bool,
) -> AuthoritySet:
    """The set with one more issuing authority, and its root where that is new."""
    stored, when = entries_of(have), now.replace(microsecond=0)
    signs = have is None or have.records.signing is None
    entry = IssuingEntry(
        issuing,
        root,
        settings.shards,
        settings.responder,
        Stage.SIGNING if signs else Stage.STAGED,
        when,
    )
    if any(each.id == root for each in stored.roots):
        files = {name: content for name, content in files.items() if not name.startswith("root-")}
        stored = replace(stored, issuing=(entry, *stored.issuing))
    else:
        sequence = stored.sequence + 1
        stored = replace(
            stored,
            roots=(
                RootEntry(root, sequence, when, delivered_at=when if signs else None),
                *stored.roots,
            ),
            issuing=(entry, *stored.issuing),
            sequence=sequence,
            required=sequence if hurry else stored.required,
        )
    return with_files(have, settings.trust_domain, files, stored)
