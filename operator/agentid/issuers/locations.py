"""Where verifiers find what is published about authorities: the URLs that certificates name.

They are part of certificates that live on, so a path that was once given stays.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ROOT_SHARD", "certificate_uri", "crl_uri", "ocsp_uri"]

ROOT_SHARD: Final = "root"
"""In place of the number of a shard: the one CRL of a root."""


def crl_uri(base: str, authority: str, shard: int | str) -> str:
    """Where a CRL is found, DER.

    Args:
        base: Of the responder, without a slash at the end.
        authority: Id of the authority that signs it.
        shard: Its number, or `ROOT_SHARD`.
    """
    return f"{base}/crl/{authority}/{shard}.crl"


def ocsp_uri(base: str) -> str:
    """Where OCSP is answered for all authorities."""
    return f"{base}/ocsp"


def certificate_uri(base: str, authority: str) -> str:
    """Where the certificate of an authority is found, DER."""
    return f"{base}/ca/{authority}.crt"
