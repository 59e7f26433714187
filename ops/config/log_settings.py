"""Settings of the log lines; see ``ops.config.settings``."""

from typing import Annotated, Literal

from msgspec import Meta

from gateway.http.limits import Limits
from ops.config.bounds import Count, Natural
from ops.config.pipeline_settings import PipelineSettings

_DEFAULT = Limits()


class LogSettings(PipelineSettings, frozen=True, kw_only=True):
    """Which lines are logged, and how."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Lowest level that is logged."),
    ] = "warning"
    log_format: Annotated[Literal["text", "json"], Meta(description="Format of the log lines.")] = (
        "text"
    )
    security_lines: Annotated[
        Natural,
        Meta(
            description="Maximum number of lines per minute of the security log for one kind and "
            "source; the others are counted."
        ),
    ] = _DEFAULT.security_lines
    security_sources: Annotated[
        Count,
        Meta(
            description="Maximum number of sources that the security log distinguishes within a "
            "minute; all others count as one."
        ),
    ] = _DEFAULT.security_sources
