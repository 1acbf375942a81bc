"""Where exceptions and warnings of the X.509 library end."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryptography import exceptions, x509

from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LIBRARY_ERRORS", "reading"]

# Everything that `cryptography` raises for bytes that are not what they should be; ValueError also
# covers UnicodeDecodeError, and a test walks the library's exceptions to see that none is missing.
LIBRARY_ERRORS = (
    ValueError,
    TypeError,
    OverflowError,
    exceptions.InvalidSignature,
    exceptions.UnsupportedAlgorithm,
    exceptions.InternalError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

# It warns of an attribute of a name that is empty or has more than 64 octets. RFC 5280 appendix A.1
# counts characters, and neither is for who reads a name to judge. Once for the process, since
# filters cannot be set aside for a moment where there are threads.
warnings.filterwarnings("ignore", "Attribute's length must be", UserWarning)


@contextmanager
def reading(message: str) -> Iterator[None]:
    """Turn an exception of the library into `InputError(message)`, its cause kept."""
    try:
        yield
    except LIBRARY_ERRORS as error:
        raise InputError(message) from error
