"""Whether a well-formed identity may have what it asks for, how strictly, and when it renews.

Pure: values in, values out, no clock and no I/O. Whether an object is well-formed is left to
`agentid.api`, what is done about a verdict to `agentid.services`.
"""

from __future__ import annotations

from agentid.policy.classification import Classification, Dimensions, classify
from agentid.policy.grant import Grant, takes_away
from agentid.policy.judge import Granted, Refused, exceeds, judge
from agentid.policy.permissions import Permissions
from agentid.policy.renewal import renewal_time
from agentid.policy.schedule import Schedule
from agentid.policy.tiers import TIER_LIMITS, Template, template_for

__all__ = [
    "TIER_LIMITS",
    "Classification",
    "Dimensions",
    "Grant",
    "Granted",
    "Permissions",
    "Refused",
    "Schedule",
    "Template",
    "classify",
    "exceeds",
    "judge",
    "renewal_time",
    "takes_away",
    "template_for",
]
