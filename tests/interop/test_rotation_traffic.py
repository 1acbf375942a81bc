"""Authorities are exchanged under two agents that talk all the time, and neither notices.

One agent is a program in Python, the other in Go; each verifies the other's chain and looks leaf
and intermediate up in CRLs, with files that follow the cluster by half a second in one and by four
in the other. The tests are one story, told in their order; the operator is killed in the
middle of each exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki.test_pkilint import accepted, chain_findings, findings
from tests.pki.test_pkilint_revocation import about_list
from tests.support.api import until
from tests.support.mounted import write_together
from tests.support.peer import Files, call
from tests.support.rotating import IDENTITIES, PROPAGATION, playing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.rotating import Scene

pytestmark = pytest.mark.integration

KILLED = -9


@pytest.fixture(scope="module")
def scene(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two agents that talk with each other ten times a second in each direction."""
    with playing(api, tmp_path_factory.mktemp("rotating")) as made:
        made.settled()
        yield made
        total = sum(len(each.calls()) for each in made.agents.values())
        print(f"{total} handshakes, none failed")  # noqa: T201 - shown with -s
        made.check()


def refused(scene: Scene, folder: Path, files: dict[str, bytes]) -> None:
    """Who comes with these files is turned away by both."""
    write_together(folder, files)
    for agent in scene.agents.values():
        us = f"spiffe://rotating.test/ns/{scene.name}/agent/{agent.name}"
        # The one that has its own name for the other's.
        outcome = call(Files(folder), agent.port, us)
        assert not outcome["ok"], (agent.name, outcome)


def is_listed(scene: Scene, serial: int) -> bool:
    """Whether the CRL of a root names an intermediate."""
    lists = [der for name, der in scene.api.crls(scene.name).items() if name.endswith("-root")]
    found = (x509.load_der_x509_crl(der) for der in lists)
    return any(each.get_revoked_certificate_by_serial_number(serial) for each in found)


def test_an_intermediate_is_rotated(scene: Scene) -> None:
    """Its successor signs once its CRLs are everywhere; leaves follow when they are renewed."""
    first = scene.the("Issuing", "Signing")
    scene.ask("rotate-requested")
    second = scene.the("Issuing", "Staged")
    until("the change", lambda: scene.at("Issuing", "Signing") == [second])
    scene.renew()
    scene.calls()
    scene.settled()
    assert scene.timeline.states(first) == ["Signing", "Retired"]
    assert scene.timeline.states(second) == ["Staged", "Signing"]


def test_the_operator_dies_while_an_intermediate_is_staged(scene: Scene) -> None:
    """The next one goes on where it was."""
    scene.ask("rotate-requested")
    staged = scene.the("Issuing", "Staged")
    scene.kill()
    until("the change", lambda: scene.at("Issuing", "Signing") == [staged])
    scene.kill()
    scene.renew()
    scene.settled()
    assert scene.timeline.states(staged) == ["Staged", "Signing"]


def test_a_root_is_rotated(scene: Scene) -> None:
    """Its time begins when everybody has it: here nobody is told for longer than all of it."""
    old, issuing = scene.the("Root", "Signing"), scene.the("Issuing", "Signing")
    scene.swap_for_one_that_dies()
    scene.ask("rotate-root-requested")
    assert scene.operator.process.wait(60) == KILLED
    scene.calls(10 * (PROPAGATION + 2))
    scene.operator = scene.start()
    new, staged = scene.the("Root", "Staged"), scene.the("Issuing", "Staged")
    until("the change", lambda: scene.at("Issuing", "Signing") == [staged], 60)
    scene.kill()
    scene.renew()
    scene.settled()
    assert scene.timeline.states(old) == ["Signing", "Retired"]
    assert scene.timeline.states(new) == ["Staged", "Signing"]
    assert scene.timeline.states(issuing)[-1] == "Retired"


def test_a_retired_root_is_distrusted(scene: Scene, tmp_path: Path) -> None:
    """Leaves below it follow, then it leaves the bundles; its CRLs go on for a while."""
    old, new = scene.the("Root", "Retired"), scene.the("Root", "Signing")
    kept = scene.fingerprint(new)
    scene.distrust(old)
    until("the distrust", lambda: scene.at("Root", "Distrusted") == [old])
    scene.kill()
    until("bundles without it", lambda: scene.bundles() == {frozenset({kept})}, 60)
    scene.kill()
    scene.settled()
    assert scene.timeline.states(old) == ["Signing", "Retired", "Distrusted"]
    # The first files there were are below it.
    refused(scene, tmp_path / "old", dict(scene.agents["right"].mounted.history[0]))


def test_the_root_in_use_is_distrusted(scene: Scene, tmp_path: Path) -> None:
    """The worst that happens: another one takes its place, and nobody loses touch."""
    old, issuing = scene.the("Root", "Signing"), scene.the("Issuing", "Signing")
    before = dict(scene.agents["left"].mounted.history[-1])
    scene.distrust(old)
    staged = scene.the("Issuing", "Staged")
    scene.kill()
    until("the change", lambda: scene.at("Issuing", "Signing") == [staged], 60)
    scene.kill()
    new = scene.fingerprint(scene.the("Root", "Signing"))
    until("bundles without it", lambda: scene.bundles() == {frozenset({new})}, 60)
    scene.settled()
    assert scene.timeline.states(old)[-1] == "Distrusted"
    assert scene.timeline.states(issuing)[-1] == "Distrusted"
    refused(scene, tmp_path / "old", before)


def test_an_intermediate_is_distrusted(scene: Scene, tmp_path: Path) -> None:
    """Its leaves follow, and its root revokes it; whoever looks at the root's CRL sees that."""
    gone = scene.the("Issuing", "Signing")
    before = dict(scene.agents["left"].mounted.history[-1])
    scene.distrust(gone)
    until("the distrust", lambda: gone in scene.at("Issuing", "Distrusted"))
    scene.kill()
    until("another", lambda: len(scene.at("Issuing", "Signing")) == 1, 60)
    scene.kill()
    number = x509.load_pem_x509_certificates(before["tls.crt"])[1].serial_number
    until("its revocation", lambda: is_listed(scene, number), 60)
    scene.settled()
    refused(scene, tmp_path / "old", before)


def test_pkilint_finds_nothing(scene: Scene) -> None:
    """In any certificate or CRL that the agents were given throughout, and in those of others."""
    histories = [each.mounted.history for each in scene.agents.values()]
    files = [each for history in histories for each in history]
    files += [scene.api.files(scene.name, f"{name}-agentid") or {} for name in IDENTITIES]
    chains, roots, lists = set(), set(), set()
    for each in files:
        chains.add(each["tls.crt"])
        roots.add(each["ca.crt"])
        lists.update(each.get("crl.pem", b"").split(b"-----END X509 CRL-----\n")[:-1])
    certificates: dict[bytes, x509.Certificate] = {}
    for pem in chains | roots:
        for certificate in x509.load_pem_x509_certificates(pem):
            certificates[certificate.public_bytes(Encoding.DER)] = certificate
    left = [
        finding
        for certificate in certificates.values()
        for finding in findings(certificate)
        if not accepted(finding)
    ]
    assert left == []
    for pem in chains:
        leaf, above = x509.load_pem_x509_certificates(pem)
        assert chain_findings(above, leaf) == []
    for pem in lists:
        der = x509.load_pem_x509_crl(pem + b"-----END X509 CRL-----\n").public_bytes(Encoding.DER)
        assert about_list(der) == []
    assert len(certificates) > 20
    assert len(lists) > 10
