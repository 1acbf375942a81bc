"""Files turned into what a handshake needs, checked before anything relies on them."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from agentid.errors import InputError
from agentid.identity import SerialNumber, SpiffeId
from agentid.identity.quoting import quoted
from agentid.pki.parse import parse_certificate
from agentid.pki.pem import MAX_BUNDLE_PEM_BYTES, MAX_CHAIN_CERTIFICATES, read_blocks
from agentid.pki.svid import leaf_faults
from agentid.workload.files import BUNDLE

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.pki.view import CertificateView
    from agentid.workload.files import Files

__all__ = ["Credentials", "Identity", "equip", "read_credentials", "svid_of"]

_CERTIFICATE = "CERTIFICATE"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this workload is, by the certificate that it shows.

    Attributes:
        spiffe_id: Its SPIFFE ID.
        serial: Of the certificate.
        not_before: Aware UTC.
        not_after: The last second in which it is valid, aware UTC.
    """

    spiffe_id: SpiffeId
    serial: SerialNumber
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """One version of the files, found good; `repr` shows whose it is, and no key.

    Attributes:
        identity: Of the leaf.
        key_and_chain: PEM, as the module ssl reads it.
        authorities: The bundle, each in DER, one after the other.
    """

    identity: Identity
    key_and_chain: bytes
    authorities: bytes

    def __repr__(self) -> str:
        """Whose they are."""
        return f"Credentials({self.identity.spiffe_id}, serial {self.identity.serial})"


def read_credentials(files: Files) -> Credentials:
    """Check one version of the files.

    What is checked: the leaf is an X509-SVID, the key belongs to it, there is a bundle, and the
    OpenSSL of this Python takes all of it. Not whether the leaf has expired.

    Raises:
        InputError: Something does not hold; the message names the file.
    """
    limit = len(files.key_and_chain)  # bounded when it was read
    blocks = read_blocks(files.key_and_chain, what=files.source, limit=limit)
    chain = [block.der for block in blocks if block.label == _CERTIFICATE]
    if not 1 <= len(chain) <= MAX_CHAIN_CERTIFICATES:
        msg = (
            f"{files.source}: found {len(chain)} certificates, 1 to {MAX_CHAIN_CERTIFICATES} make "
            "a chain"
        )
        raise InputError(msg)
    if len(blocks) != len(chain) + 1:
        msg = f"{files.source}: found {len(blocks) - len(chain)} blocks beside certificates, one "
        raise InputError(msg + "private key has to be there")
    _, view = parse_certificate(chain[0], what=files.source)
    identity = Identity(
        _spiffe_id(view), SerialNumber(view.tbs.serial_number), view.not_before, view.not_after
    )
    bundle = read_blocks(files.bundle, what=BUNDLE, limit=MAX_BUNDLE_PEM_BYTES)
    authorities = [block.der for block in bundle if block.label == _CERTIFICATE]
    if not authorities:
        msg = f"{BUNDLE} holds no certificate, so nobody could be believed"
        raise InputError(msg)
    for each in authorities:
        parse_certificate(each, what=BUNDLE)
    made = Credentials(identity, files.key_and_chain, b"".join(authorities))
    try:
        equip(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), made)
    except ssl.SSLError as error:
        why = f"the OpenSSL of this Python ({ssl.OPENSSL_VERSION}) takes none of it: {error}"
        if error.reason == "KEY_VALUES_MISMATCH":
            why = "the private key is not the one of the certificate"
        msg = f"{files.source} and {BUNDLE}: {why}"
        raise InputError(msg) from error
    return made


def equip(context: ssl.SSLContext, credentials: Credentials) -> None:
    """Load them into a context.

    The module ssl reads a private key from a file only. It gets one that lies in memory and has no
    name, so that what is loaded is what was checked, and no copy of the key reaches a disk.

    Raises:
        ssl.SSLError: OpenSSL takes no such key or certificate, or they do not belong together.
    """
    descriptor = os.memfd_create("agentid")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(credentials.key_and_chain)
        # A key that is encrypted is refused; without a password OpenSSL would ask at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    finally:
        os.close(descriptor)
    context.load_verify_locations(cadata=credentials.authorities)


@lru_cache(maxsize=256)
def svid_of(der: bytes) -> SpiffeId:
    """The SPIFFE ID of a leaf that breaks no rule of the X509-SVID standard.

    Signatures and validity are left to OpenSSL, which has verified the chain.

    Raises:
        InputError: It is no X509-SVID of a workload.
    """
    _, view = parse_certificate(der, what="peer")
    return _spiffe_id(view)


def _spiffe_id(view: CertificateView) -> SpiffeId:
    if faults := leaf_faults(view):
        msg = f"the certificate is no X509-SVID: {'; '.join(faults)}"
        raise InputError(msg)
    return SpiffeId.parse(view.uri_names[0])


def _no_password() -> str:
    msg = f"the private key is encrypted, which {quoted('agentid')} never does"
    raise InputError(msg)
