"""The health check of webhooks: whether they are delivered, and how far they are behind.

A client chooses its receivers itself, so those do not change the status: they are only counted.
"""

from gateway.health.results import Check, State
from gateway.http.limits import Limits
from store.errors import Unavailable
from store.log.control import ControlLog
from store.log.log import Log
from store.webhooks.lease import read_report

BY_FAILURE = ("gone", "exhausted")
"""Why a webhook is disabled if nobody asked for it."""


async def check(log: Log, limits: Limits) -> Check:
    """Check the delivery, as the process that delivers reports it; raises StoreError."""
    try:
        webhooks = (await ControlLog(log).load()).controls.webhooks
        report = await read_report(log)
    except Unavailable:  # the check of Redis reports it
        return Check(status="ok")
    disabled = [each for each in webhooks.values() if each.disabled in BY_FAILURE]
    reasons: list[str] = []
    if report is None:
        if any(each.disabled is None for each in webhooks.values()):
            reasons.append("no process delivers webhooks")
    else:
        if report.system_behind_ms > limits.degraded_webhooks_s * 1000:
            behind_s = report.system_behind_ms // 1000
            reasons.append(f"a webhook of the system is {behind_s:,} s behind")
        if report.unsigned:
            reasons.append(
                f"{report.unsigned} secrets were made with another key: set PHOTOLOG_WEBHOOK_KEY"
            )
    if any(each.client_id is None for each in disabled):
        reasons.append("a webhook of the system was disabled because its receiver fails")
    status: State = "degraded" if reasons else "ok"
    return Check(
        status=status,
        reason="; ".join(reasons) or None,
        behind_ms=(report.behind_ms or None) if report else None,
        failing=(report.failing or None) if report else None,
        disabled=len(disabled) or None,
    )
