"""Every setting: its name, default, bounds and meaning.

A setting ``port`` is the environment variable ``PHOTOLOG_PORT`` or the line ``port = 3000`` of a
TOML file; see ``ops.config.loading``. Each group of settings has its file, and extends the group
before it: system, gateway, pipeline, log lines, archive, S3, rate limits, sign-in at a
provider, webhooks.
"""

from pathlib import Path
from typing import get_type_hints

from domain.pipeline.retries import STRATEGIES, Strategies
from ops.config.strategies import parse
from ops.config.webhook_settings import WebhookSettings

PREFIX = "PHOTOLOG_"

RETRY = "retry_"
"""Prefix of the settings that are retry strategies, one for each category of failures."""


class Settings(WebhookSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that an operator can change. The name of a setting states its unit."""

    @property
    def folder(self) -> Path:
        """The data folder, absolute."""
        return Path(self.data).expanduser().absolute()

    @property
    def superseded_grace(self) -> float:
        """Return how many seconds superseded renditions stay; no signed URL outlives them."""
        return max(self.superseded_grace_s, self.s3_link_s if self.s3_links else 0.0)

    @property
    def strategies(self) -> Strategies:
        """Return what follows a failed attempt, by category of the failure."""
        return {
            category: parse(getattr(self, RETRY + category), default)
            for category, default in STRATEGIES.items()
        }

    @property
    def blobs_folder(self) -> Path:
        return self.folder / "blobs"

    @property
    def uploads_folder(self) -> Path:
        """The folder of unfinished uploads."""
        return self.folder / "uploads"

    @property
    def read_model_folder(self) -> Path:
        return self.folder / "read-model"


PARTS = {
    "data": "The system",
    "trusted_proxies": "Proxies",
    "max_upload_bytes": "Uploads",
    "quota_photos": "Quotas of each client",
    "max_json_bytes": "Requests",
    "check_timeout_s": "Health",
    "room_backlog": "Rooms",
    "token_ttl_max_s": "Sign-in",
    "concurrency": "Worker",
    "max_pixels": "Pictures",
    "log_level": "Log lines",
    "archive_after_s": "The archive of the log",
    "s3_endpoint": "Photos on an S3 server",
    "rate_requests": "Rate limits",
    "oidc_issuer": "Sign-in at an OpenID provider",
    "webhooks_per_client": "Webhooks",
}
"""The title of each part, by its first setting; the settings of a part follow one another."""


HINTS = get_type_hints(Settings, include_extras=True)
"""The type of each setting, with its bounds and its meaning, in the order of the groups."""


def variable_of(name: str) -> str:
    return PREFIX + name.upper()
