"""The key from which the secrets of webhooks are derived.

It is a setting, or the file ``webhook-key`` of the data folder. Whoever has it can sign deliveries,
so the file can be read by its owner only. It is apart from the keys that sign tokens: changing
those must not change what receivers verify with.
"""

from gateway.webhooks.secrets import WebhookSecrets
from ops.config.settings import Settings
from ops.errors import UserError
from ops.runtime.signing_keys import create, read

KEY_FILE = "webhook-key"


def webhook_secrets(settings: Settings) -> WebhookSecrets:
    """Return what derives the secrets; the first call on a data folder creates its key.

    Raises:
        UserError: the key is unusable.
    """
    if settings.webhook_key is not None:
        return WebhookSecrets(settings.webhook_key.encode())
    path = settings.folder / KEY_FILE
    try:
        create(path)
        return WebhookSecrets(read(path)[0].secret)
    except OSError as error:
        raise UserError(f"cannot use the key of webhooks {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(
            f"{path} does not hold a key of webhooks: restore it from a backup, or delete it, and "
            "rotate the secret of every webhook after the next start"
        ) from error
