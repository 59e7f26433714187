"""The guide to webhooks: its code verifies what is really sent, and its example is one."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.webhooks.messages import CloudEvent, signed
from gateway.webhooks.secrets import WebhookSecrets

GUIDE = (Path(__file__).parents[3] / "ops" / "guides" / "webhooks.md").read_text("utf-8")
BODY = b'{"specversion":"1.0"}'


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_code_of_the_guide_verifies_signatures() -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)  # it is ours
    verify: Callable[[dict[str, str], bytes, str], None] = names["verify"]
    secrets = WebhookSecrets(b"k" * 32)
    secret, other = secrets.make("w"), secrets.make("w")
    now = int(time.time())

    headers = dict(signed(BODY, "0:1-0", now, [other.key, secret.key]))
    verify(headers, BODY, secret.text)
    verify(headers, BODY, other.text)

    old = dict(signed(BODY, "0:1-0", now - 600, [secret.key]))
    for wrong, body, text in (
        (headers, BODY + b" ", secret.text),
        (headers, BODY, secrets.make("w").text),
        ({**headers, "webhook-id": "0:2-0"}, BODY, secret.text),
        (old, BODY, secret.text),
    ):
        with pytest.raises(ValueError, match=r"wrong|old"):
            verify(wrong, body, text)


def test_the_example_has_the_fields_of_a_cloud_event() -> None:
    example = msgspec.json.decode(block("json"))

    assert set(example) <= set(CloudEvent.__struct_fields__)
    required = {each.name for each in msgspec.structs.fields(CloudEvent) if each.required}
    assert required <= set(example)
