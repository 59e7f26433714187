"""The key of webhooks, and settings of their delivery that contradict each other."""

import stat
from pathlib import Path

import pytest

from ops.config.settings import Settings
from ops.config.validation import check
from ops.errors import UserError
from ops.runtime.webhook_key import KEY_FILE, webhook_secrets

KEY = "k" * 32


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path / "data"))

    first = webhook_secrets(settings).derive("w", "s")
    again = webhook_secrets(settings).derive("w", "s")

    assert first == again
    assert stat.S_IMODE((settings.folder / KEY_FILE).stat().st_mode) == 0o600
    assert not (settings.folder / "secret").exists()


def test_machines_with_the_same_setting_derive_the_same_secrets(tmp_path: Path) -> None:
    one = webhook_secrets(Settings(data=str(tmp_path / "one"), webhook_key=KEY))
    two = webhook_secrets(Settings(data=str(tmp_path / "two"), webhook_key=KEY))

    assert one.derive("w", "s") == two.derive("w", "s")
    assert one.derive("w", "s").text != one.derive("w", "t").text
    assert one.derive("w", "s").text != one.derive("v", "s").text
    assert not (tmp_path / "one").exists()


def test_an_unusable_key_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("short")

    with pytest.raises(UserError, match="rotate the secret"):
        webhook_secrets(Settings(data=str(tmp_path)))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (Settings(webhook_private_addresses="10.0.0.0/8, localhost"), "PRIVATE_ADDRESSES"),
        (Settings(webhook_ca_file="/nowhere.pem"), "WEBHOOK_CA_FILE"),
    ],
)
def test_unusable_settings_end_the_start(settings: Settings, named: str) -> None:
    with pytest.raises(UserError, match=named):
        check(settings)
