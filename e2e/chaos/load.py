"""What people do meanwhile: each deed asks the API server once, and takes no for an answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from e2e.chaos.course import BEYOND, CLASSES, LESS, MORE

if TYPE_CHECKING:
    from e2e.chaos.admin import Admin
    from e2e.chaos.course import Step
    from e2e.chaos.history import Agent, Json

__all__ = ["ISSUER", "Load"]

ISSUER = "chaos"
_PERMISSIONS = {"less": LESS, "more": MORE, "beyond": BEYOND}


class Load:
    """The agents of one course, in namespaces of its own."""

    def __init__(self, admin: Admin, seed: int) -> None:
        self._admin = admin
        self._seed = seed
        self.namespaces = (f"chaos-{seed}-a", f"chaos-{seed}-b")
        self._incidents = 0

    async def prepare(self) -> None:
        """Make namespaces and classes."""
        for name in self.namespaces:
            await self._admin.insist("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        for name in CLASSES:
            await self._admin.create("agentclasses", self._class(name))

    def agent(self, number: str) -> Agent:
        """Namespace and name of an agent."""
        return self.namespaces[int(number) % len(self.namespaces)], f"agent-{number}"

    def class_name(self, kind: str) -> str:
        """The class of a kind, of this course."""
        return f"chaos-{self._seed}-{kind}"

    async def do(self, step: Step) -> None:
        """Do one deed.

        Raises:
            RefusedError: The API server refused it, or was away.
        """
        match step.what:
            case "create":
                namespace, name = self.agent(step.of)
                await self._admin.create(
                    "agentidentities", self._identity(name, step.how), namespace
                )
            case "delete":
                namespace, name = self.agent(step.of)
                await self._admin.delete("agentidentities", name, namespace)
            case "permit":
                await self._change(step.of, {"permissions": _PERMISSIONS[step.how]})
            case "suspend" | "resume":
                await self._change(step.of, {"suspend": step.what == "suspend"})
            case "reclass":
                await self._change(step.of, {"className": self.class_name(step.how)})
            case "sponsor":
                await self._change(step.of, {"sponsor": step.how})
            case "renew":
                asked = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                namespace, name = self.agent(step.of)
                patch = {"metadata": {"annotations": {"agentid.dev/renew-requested": asked}}}
                await self._admin.patch("agentidentities", name, patch, namespace)
            case "tighten" | "loosen":
                given: Json = LESS if step.what == "tighten" else CLASSES[step.of]["permissions"]
                patch = {"spec": {"permissions": given}}
                await self._admin.patch("agentclasses", self.class_name(step.of), patch)
            case "revoke":
                await self._revoke(step)
            case _:
                msg = f"{step.what}: nobody knows how to do that"
                raise ValueError(msg)

    async def _change(self, number: str, spec: Json) -> None:
        namespace, name = self.agent(number)
        await self._admin.patch("agentidentities", name, {"spec": spec}, namespace)

    async def _revoke(self, step: Step) -> None:
        self._incidents += 1
        namespace, name = self.agent(step.of) if step.how == "identity" else ("", "")
        select = (
            {"identities": [{"namespace": namespace, "name": name}]}
            if step.how == "identity"
            else {"classNames": [self.class_name(step.of)]}
        )
        body = {
            "metadata": {"name": f"chaos-{self._seed}-{self._incidents}"},
            "spec": {"reason": "keyCompromise", "dryRun": False, "select": select},
        }
        await self._admin.create("agentrevocations", body)

    def _class(self, kind: str) -> Json:
        spec: Json = {
            "issuerName": ISSUER,
            "namespaces": {"names": [f"chaos-{self._seed}-*"]},
            "revocation": {"gracePeriod": "2s"},
            **CLASSES[kind],
        }
        return {"metadata": {"name": self.class_name(kind)}, "spec": spec}

    def _identity(self, name: str, kind: str) -> Json:
        return {
            "metadata": {"name": name},
            "spec": {
                "className": self.class_name(kind),
                "sponsor": "team@example.com",
                "subject": {"serviceAccountName": "default"},
                "permissions": LESS,
            },
        }
