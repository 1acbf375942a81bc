"""Revocation lists at hand, and whether a certificate is on one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509

from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.identity.revocation import RevocationReason
from agentid.pki.boundary import reading
from agentid.pki.crl_view import MAX_CRL_BYTES, CrlView, read_crl
from agentid.pki.distinguished import ComparableName, comparable, same_name
from agentid.pki.pem import read_blocks
from agentid.pki.strength import check_signature
from agentid.verify.agent import RevocationState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from agentid.pki.path import Path, PathCertificate

__all__ = ["Crl", "CrlSet", "read_crls"]

_MAX_PEM_BYTES: Final = 2 * MAX_CRL_BYTES  # Base64 takes 4/3; the rest is room for text
_FETCH: Final = "fetch the current one"


@dataclass(frozen=True, slots=True, eq=False)
class Crl:
    """A list that was read once; whose it is, is asked when it is used.

    Attributes:
        view: What it says.
    """

    view: CrlView
    _loaded: x509.CertificateRevocationList = field(repr=False)
    # Issuers, by certificate, that it was verified to come from.
    _genuine: set[bytes] = field(default_factory=set, init=False, repr=False)

    @classmethod
    def parse(cls, der: bytes) -> Crl:
        """Read a list; nothing about it is judged but its form.

        Raises:
            InputError: It is not a full and direct CRL in DER; see `agentid.pki.crl_view.read_crl`.
        """
        view = read_crl(der)
        with reading("CRL: it does not parse; fetch it again"):
            return cls(view, x509.load_der_x509_crl(der))

    def check_issuer(self, issuers: Sequence[PathCertificate]) -> None:
        """Ask that one of these has signed the list (RFC 5280 §6.3.3 f).

        They are on a path that was verified, so that their keys are strong enough.

        Raises:
            InputError: The list names another key, or the authority may not sign lists.
            VerificationError: BadSignature or WeakKey.
        """
        issuer = next((each for each in issuers if each.key_id in {None, self.view.key_id}), None)
        if issuer is None:
            msg = "it was signed with another key of the issuer"
            raise InputError(msg)
        if issuer.der in self._genuine:
            return
        if issuer.key_usage is not None and "cRLSign" not in issuer.key_usage:
            msg = "the keyUsage of the issuer does not allow it to sign CRLs"
            raise InputError(msg)
        check_signature(self._loaded, issuer.key)
        self._genuine.add(issuer.der)

    def check_scope(self, certificate: PathCertificate) -> None:
        """Ask that the list would name the certificate if it were revoked (RFC 5280 §6.3.3 b).

        Raises:
            InputError: It is silent about certificates of this kind or distribution point.
        """
        view = self.view
        if view.only_user_certs if certificate.is_authority else view.only_ca_certs:
            kind = "leaves" if certificate.is_authority else "authorities"
            msg = f"it is about {kind} only"
            raise InputError(msg)
        if view.distribution_uris and not set(view.distribution_uris) & set(certificate.crl_uris):
            msg = "it is that of another distribution point than the certificate names"
            raise InputError(msg)

    def check_fresh(self, at: datetime, max_age: timedelta | None) -> None:
        """Ask that the list can be relied on at a time.

        Raises:
            InputError: It is from the future, its successor is due, or it is too old.
        """
        issued, due = self.view.this_update, self.view.next_update
        if at < issued:
            msg = f"it is in force from {issued.isoformat()} on; check the clock"
            raise InputError(msg)
        if at >= due:
            msg = f"its successor was due at {due.isoformat()}; {_FETCH}"
            raise InputError(msg)
        if max_age is not None and at - issued > max_age:
            msg = f"it was issued at {issued.isoformat()}, more than {max_age} ago; {_FETCH}"
            raise InputError(msg)


class CrlSet:
    """The lists that a verifier goes by, and what it asks of them.

    Delta lists, indirect lists, and lists of some reasons only are not read; a certificate that
    only such a list could cover counts as unknown. A list that is stale still revokes what it
    names, unless it was on hold.
    """

    __slots__ = ("_by_issuer", "_max_age", "_whole_chain")

    def __init__(
        self,
        crls: Iterable[Crl],
        *,
        max_age: timedelta | None = None,
        whole_chain: bool = False,
    ) -> None:
        """Take the lists.

        Args:
            crls: Of any issuers, in any order. Reuse them when only one of many was fetched anew.
            max_age: The longest time since a list was issued; None to go by nextUpdate alone.
            whole_chain: Whether every intermediate must be covered by a list as well; otherwise
                the leaf must, and an intermediate is refused only where a list names it.

        Raises:
            InputError: The name of an issuer does not parse.
        """
        self._max_age = max_age
        self._whole_chain = whole_chain
        by_issuer: dict[ComparableName, list[Crl]] = {}
        for crl in crls:
            by_issuer.setdefault(comparable(crl.view.issuer_der), []).append(crl)
        self._by_issuer = by_issuer

    def check(self, path: Path, *, at: datetime) -> RevocationState:
        """Ask that nothing on a path is revoked.

        Args:
            path: It has been verified but for the time.
            at: The time, aware.

        Returns:
            What is known about the leaf.

        Raises:
            VerificationError: Revoked or RevocationUnknown.
        """
        # From the top, so that nothing is believed of an authority that is revoked.
        for position in range(len(path.certificates) - 1, 0, -1):
            self._check_one(path, position, at=at, required=self._whole_chain)
        if path.leaf.no_rev_avail:
            return RevocationState.NONE_PUBLISHED
        self._check_one(path, 0, at=at, required=True)
        return RevocationState.NOT_REVOKED

    def _check_one(self, path: Path, position: int, *, at: datetime, required: bool) -> None:
        certificate, what = path.whole[position], path.label(position)
        serial = certificate.view.tbs.serial_number
        issuers = _issuers(path, position)
        notes: list[str] = []
        covered = False
        for crl in self._by_issuer.get(comparable(certificate.issuer_der), ()):
            try:
                crl.check_scope(certificate)
                crl.check_issuer(issuers)
            except (InputError, VerificationError) as error:
                notes.append(str(error))
                continue
            entry = crl.view.revoked.get(serial)
            if entry is not None and entry[1].is_final:
                raise _revoked(what, serial, *entry)
            try:
                crl.check_fresh(at, self._max_age)
            except InputError as error:
                notes.insert(0, str(error))  # it says more than a list that was not the right one
                continue
            if entry is not None and entry[1] is not RevocationReason.REMOVE_FROM_CRL:
                raise _revoked(what, serial, *entry)
            covered = True
        if required and not covered:
            found = f"the CRL at hand does not serve: {notes[0]}" if notes else "there is no CRL"
            msg = f"{what}: whether it is revoked is not known; of its issuer, {found}"
            raise VerificationError(VerificationReason.REVOCATION_UNKNOWN, msg)


def _issuers(path: Path, position: int) -> tuple[PathCertificate, ...]:
    """Who may sign a list about a certificate of a path: its issuer, with any key on the path.

    An authority that changes its key and keeps its name signs its lists with the new one; the old
    and the new certificate are both on the path then (RFC 5280 §6.3.3 f).
    """
    issuer, *above = path.whole[position + 1 :]
    return (issuer, *(each for each in above if same_name(each.subject_der, issuer.subject_der)))


def read_crls(data: bytes, *, what: str = "CRL") -> tuple[Crl, ...]:
    """The lists in a file: one in DER, or any number in PEM.

    Raises:
        InputError: It is neither, or a list does not parse or is not one that is read.
    """
    if data[:1] == b"\x30":
        return (Crl.parse(data),)
    blocks = read_blocks(data, what=what, limit=_MAX_PEM_BYTES)
    for block in blocks:
        if block.label != "X509 CRL":
            msg = f"{what}: found PEM {block.label}, wanted X509 CRL; remove it"
            raise InputError(msg)
    return tuple(Crl.parse(block.der) for block in blocks)


def _revoked(
    what: str, serial: int, since: datetime, reason: RevocationReason
) -> VerificationError:
    msg = (
        f"{what}: the certificate with serial {serial:x} was revoked at {since.isoformat()}, "
        f"reason {reason}; do not trust it"
    )
    return VerificationError(VerificationReason.REVOKED, msg)
