"""When does agentid do something? Every trigger is in `triggers`, what they set off in `loops`.

This is the only package that knows Kopf: it watches, resumes and discovers; what it tells is a hint
to look, put into a queue of our own (`docs/adr/0001-own-queue-beside-kopf.md`).
"""

from __future__ import annotations

from agentid.controller.operator import run_operator

__all__ = ["run_operator"]
