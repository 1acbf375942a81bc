"""Crypto-agility: a class moves its agents to another key algorithm, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, mldsa

from tests.support.api import Api, until
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.install import Operator

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("running")]

NAMES = ("one", "two", "three")


def key_of(api: Api, namespace: str, name: str) -> object:
    """The public key in the certificate that an agent has."""
    files = api.files(namespace, f"{name}-agentid")
    assert files is not None
    return x509.load_pem_x509_certificate(files["tls.crt"]).public_key()


def counted(api: Api, class_name: str) -> dict[str, int]:
    """How many certificates have keys of which algorithm, as the class tells."""
    status = (api.object("agentclasses", class_name) or {}).get("status") or {}
    return {each["algorithm"]: each["certificates"] for each in status.get("keyAlgorithms", ())}


def renew(api: Api, namespace: str, name: str) -> None:
    """Ask for a renewal, and wait for it."""
    before = api.serial(namespace, name)
    stamp = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    asked = {"metadata": {"annotations": {"agentid.dev/renew-requested": stamp}}}
    api.patch("agentidentities", name, asked, namespace)
    until("the renewal", lambda: api.serial(namespace, name) not in {before, ""})


def test_agents_move_as_they_renew_and_go_back_at_once(
    api: Api, namespace: str, make_class: Callable[..., str], running: Operator
) -> None:
    """Nobody is reissued for it; the class counts how far it is, until it is called off."""
    assert running.process.poll() is None
    name = make_class()
    for each in NAMES:
        api.create("agentidentities", identity(each, name), namespace)
    for each in NAMES:
        api.until_ready(namespace, each)
    before = {each: api.serial(namespace, each) for each in NAMES}

    api.patch("agentclasses", name, {"spec": {"migration": {"keyAlgorithm": "MLDSA65"}}})
    until("the count", lambda: counted(api, name) == {"ECDSAP256": 3})
    renew(api, namespace, "one")
    assert isinstance(key_of(api, namespace, "one"), mldsa.MLDSA65PublicKey)
    assert {each: api.serial(namespace, each) for each in NAMES[1:]} == {
        each: before[each] for each in NAMES[1:]
    }
    until("the next count", lambda: counted(api, name) == {"ECDSAP256": 2, "MLDSA65": 1}, 60)

    api.patch("agentclasses", name, {"spec": {"migration": None}})
    until(
        "the way back", lambda: isinstance(key_of(api, namespace, "one"), ec.EllipticCurvePublicKey)
    )
    until("the end of counting", lambda: counted(api, name) == {})
    assert {each: api.serial(namespace, each) for each in NAMES[1:]} == {
        each: before[each] for each in NAMES[1:]
    }
