"""`agentid verify`, as a person or a script runs it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agentid.cli.app import app
from agentid.errors import InputError
from agentid.pki.crl import crl_pem
from agentid.pki.spiffe_bundle import SpiffeBundle, encode_spiffe_bundle
from agentid.testing.ca import NOON, ThrowawayCA
from tests.support.verifying import CRL_URI, POLICY, authorized, crl

if TYPE_CHECKING:
    from pathlib import Path

AT = "2026-11-02T10:00:00+01:00"  # a Monday morning in Berlin
WORKING = ThrowawayCA(now=NOON + timedelta(hours=21))
WORKING_LEAF = WORKING.issue(WORKING.profile(authorization=authorized(), crl_uri=CRL_URI)).leaf
WEEK = ", ".join(f"{day} 08:00/{day} 17:00" for day in ("Mon", "Tue", "Wed", "Thu", "Fri"))
DOCUMENT = POLICY.document(agent_class="assistant", tier="Moderate", sponsor="team@example.org")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a chain, the bundle in both forms and lists."""
    files = {
        "chain.pem": WORKING_LEAF.chain_pem,
        "leaf.der": WORKING_LEAF.der,
        "by-reference.pem": WORKING.issue(
            WORKING.profile("far", authorization=authorized(by_reference=True))
        ).leaf.chain_pem,
        "plain.pem": WORKING.issue(WORKING.profile("plain", no_rev_avail=True)).leaf.chain_pem,
        "ca.crt": WORKING.bundle.pem,
        "bundle.json": encode_spiffe_bundle(SpiffeBundle(WORKING.bundle, sequence=1)),
        "stranger.crt": ThrowawayCA(seed="stranger").bundle.pem,
        "good.crl": crl(WORKING),
        "revoked.pem": crl_pem(crl(WORKING, WORKING_LEAF.certificate.serial_number)),
        "policy.json": DOCUMENT,
        "noise": b"noise",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
    """Run `agentid verify`; return exit code, output and error output."""
    done = CliRunner().invoke(app, ["verify", *arguments], input=stdin)
    if isinstance(done.exception, InputError):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.usefixtures("folder")
class TestVerify:
    """In a folder of files."""

    def test_it_says_in_words_who_it_is(self) -> None:
        """And what it may do, until when."""
        code, out, err = run(
            "chain.pem", "--bundle", "ca.crt", "--crl", "good.crl", "--at", AT,
            "--system", "erp.invoices", "--operation", "read",
        )  # fmt: skip
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            "verified           agent invoice-reader in namespace finance",
            "SPIFFE ID          spiffe://example.org/ns/finance/agent/invoice-reader",
            "class              assistant, tier Moderate",
            "sponsor            team@example.org",
            "may reach          crm.*, erp.invoices",
            "may do there       list, read",
            f"may do it          {WEEK}; Europe/Berlin",
            "compliance         gdpr",
            "granted            read on erp.invoices",
            "revocation         not on its issuer's CRL",
            "valid until        2026-11-02 09:59:59 UTC",
            f"serial             {WORKING_LEAF.certificate.serial_number:x}",
            f"authority          {WORKING.authority.key_id[:8].hex()}",
        ]

    def test_json_says_the_same(self) -> None:
        """For programs."""
        code, out, _ = run("chain.pem", "--bundle", "bundle.json", "--at", AT, "--json")
        said = json.loads(out)
        assert code == 0
        assert said["verified"] is True
        assert said["spiffeId"] == "spiffe://example.org/ns/finance/agent/invoice-reader"
        assert said["permissions"]["systems"] == ["crm.*", "erp.invoices"]
        assert (said["authorization"], said["revocation"]) == ("Inline", "NotChecked")
        assert said["notAfter"] == "2026-11-02T09:59:59Z"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--bundle", "ca.crt"], "refused, Expired: leaf: it expired at 2026-11-02"),
            (
                ["--bundle", "stranger.crt", "--at", AT],
                "refused, UntrustedRoot: the chain leads to no authority",
            ),
            (
                ["--bundle", "ca.crt", "--at", AT, "--trust-domain", "other.example"],
                "refused, UntrustedDomain: leaf: it is of the trust domain example.org",
            ),
            (
                ["--bundle", "ca.crt", "--at", AT, "--crl", "revoked.pem"],
                "refused, Revoked: leaf: the certificate with serial",
            ),
            (
                ["--bundle", "ca.crt", "--at", AT, "--system", "erp", "--operation", "read"],
                "refused, NotPermitted: ",
            ),
        ],
        ids=["expired", "stranger", "other-domain", "revoked", "not-permitted"],
    )
    def test_a_refusal_is_exit_code_1_with_its_reason(
        self, arguments: list[str], words: str
    ) -> None:
        """On standard error, and as JSON on standard output if asked."""
        code, out, err = run("chain.pem", *arguments)
        assert (code, out) == (1, "")
        assert err.startswith(words)
        code, out, _ = run("chain.pem", *arguments, "--json")
        said = json.loads(out)
        assert (code, said["verified"]) == (1, False)
        assert words.startswith(f"refused, {said['reason']}: ")

    def test_a_policy_by_reference_is_given_as_a_file(self) -> None:
        """Without it the output says where it is."""
        _, out, _ = run("by-reference.pem", "--bundle", "ca.crt", "--at", AT)
        uri = authorized(by_reference=True).policy_uri
        assert f"may do             what {uri} says; give --policy" in out
        _, out, _ = run(
            "by-reference.pem", "--bundle", "ca.crt", "--at", AT, "--policy", "policy.json"
        )
        assert "may do there       list, read" in out

    def test_a_plain_certificate_grants_nothing(self) -> None:
        """It is verified all the same."""
        code, out, _ = run("plain.pem", "--bundle", "ca.crt", "--at", AT, "--crl", "good.crl")
        assert code == 0
        assert "may do             the certificate does not say, so nothing" in out
        assert "none will be published (RFC 9608)" in out

    def test_a_chain_comes_on_standard_input_too(self) -> None:
        """As PEM here; a leaf in DER lacks its intermediate."""
        assert run("-", "--bundle", "ca.crt", "--at", AT, stdin=WORKING_LEAF.chain_pem)[0] == 0
        code, _, err = run("leaf.der", "--bundle", "ca.crt", "--at", AT)
        assert (code, err.partition(":")[0]) == (1, "refused, UntrustedRoot")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["absent", "--bundle", "ca.crt"], "absent: cannot be read"),
            (["noise", "--bundle", "ca.crt"], "chain holds no PEM block"),
            (["chain.pem", "--bundle", "noise"], "bundle holds no PEM block"),
            (["chain.pem", "--bundle", "ca.crt", "--crl", "noise"], "CRL holds no PEM block"),
            (["chain.pem", "--bundle", "ca.crt", "--at", "noon"], '"noon" is no time'),
            (["chain.pem", "--bundle", "ca.crt", "--at", "2026-11-01"], "has no time zone"),
            (["chain.pem", "--bundle", "ca.crt", "--system", "erp"], "belong together"),
        ],
        ids=["absent", "chain", "bundle", "crl", "time", "zone", "half-a-question"],
    )
    def test_what_cannot_be_read_is_an_error(self, arguments: list[str], words: str) -> None:
        """`main` makes exit code 2 of it."""
        with pytest.raises(InputError, match=words):
            run(*arguments)

    def test_roots_that_do_not_say_whose_they_are_need_a_trust_domain(self) -> None:
        """It is never taken from the chain that is to be verified."""
        both = WORKING.bundle.pem + ThrowawayCA("other.example").bundle.pem
        with pytest.raises(InputError, match="its roots name 2 trust domains; give --trust-domain"):
            run("chain.pem", "--bundle", "-", stdin=both)
