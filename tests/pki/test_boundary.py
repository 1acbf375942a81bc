"""No exception of the library passes the boundary."""

from __future__ import annotations

import builtins
import inspect

import pytest
from cryptography import exceptions, x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import base, extensions, general_name, name, verification

from agentid.errors import InputError
from agentid.pki.boundary import LIBRARY_ERRORS, reading

# Raised by parts of the library that agentid does not call on bytes from outside.
NOT_CALLED = {
    exceptions.AlreadyFinalized: "hash and cipher contexts",
    exceptions.AlreadyUpdated: "AEAD contexts",
    exceptions.NotYetFinalized: "AEAD contexts",
    exceptions.InvalidTag: "AEAD decryption",
    exceptions.InvalidKey: "key derivation",
    base.AttributeNotFound: "attributes of CSRs",
    extensions.ExtensionNotFound: "asked for by us, and handled where it is asked",
    verification.VerificationError: "the library's path validation",
}


def library_exceptions() -> list[type[Exception]]:
    """Every exception class that the modules agentid uses define."""
    modules = (exceptions, x509, base, extensions, general_name, name, serialization, verification)
    return sorted(
        {
            found
            for module in modules
            for found in vars(module).values()
            if inspect.isclass(found)
            and issubclass(found, Exception)
            and found.__name__ not in vars(builtins)
        },
        key=lambda found: found.__name__,
    )


@pytest.mark.parametrize("kind", library_exceptions())
def test_each_exception_of_the_library_is_translated_or_cannot_come(kind: type[Exception]) -> None:
    """A new version of the library that brings a new exception fails here."""
    assert issubclass(kind, LIBRARY_ERRORS) != (kind in NOT_CALLED)


@pytest.mark.parametrize("kind", [ValueError, TypeError, OverflowError])
def test_the_cause_is_kept(kind: type[Exception]) -> None:
    """What the library said is there for the log; the message is ours."""
    cause = kind("library words")
    with pytest.raises(InputError, match=r"^our words$") as raised, reading("our words"):
        raise cause
    assert raised.value.__cause__ is cause


def test_our_own_refusals_pass_unchanged() -> None:
    """A refusal inside is not wrapped in another."""
    inner = InputError("inner")
    with pytest.raises(InputError, match=r"^inner$"), reading("outer"):
        raise inner
