"""The settings of the OpenID provider."""

import pytest

from gateway.access.oidc.config import Oidc
from ops.config.loading import MASK, load, shown
from ops.config.settings import Settings, variable_of
from ops.config.validation import check
from ops.errors import UserError

GIVEN = {
    "oidc_issuer": "https://login.example.com",
    "oidc_client_id": "photolog",
    "oidc_client_secret": "hunter2",
    "oidc_public_url": "https://photos.example.com",
}


def loaded(**others: str | None) -> Settings:
    given = {**GIVEN, **others}
    return load({variable_of(name): value for name, value in given.items() if value}).settings


def test_they_describe_the_provider() -> None:
    settings = loaded(oidc_role_claim="groups", oidc_operators="ops", oidc_session_s="3600")

    check(settings)

    assert settings.oidc == Oidc(
        issuer="https://login.example.com",
        client_id="photolog",
        client_secret="hunter2",
        public_url="https://photos.example.com",
        role_claim="groups",
        operators="ops",
        session_s=3_600.0,
    )


def test_there_is_no_provider_by_default() -> None:
    assert Settings().oidc is None


def test_the_secret_is_never_shown() -> None:
    assert shown("oidc_client_secret", "hunter2") == MASK


def test_defaults_are_those_of_the_provider() -> None:
    defaults = Oidc(issuer="", client_id="", public_url="")
    settings = Settings()

    for name in Oidc.__struct_fields__[3:]:
        assert getattr(settings, f"oidc_{name}") == getattr(defaults, name), name


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"oidc_client_id": None}, "PHOTOLOG_OIDC_CLIENT_ID is unset"),
        ({"oidc_public_url": None}, "PHOTOLOG_OIDC_PUBLIC_URL is unset"),
        ({"oidc_issuer": None}, "PHOTOLOG_OIDC_ISSUER is unset, but"),
        ({"oidc_issuer": "http://login.example.com"}, "must begin with https://"),
        ({"oidc_public_url": "https://photos.example.com/x"}, "nothing after it"),
        ({"oidc_scopes": "profile email"}, "must contain openid"),
        ({"oidc_operators": "ops"}, "PHOTOLOG_OIDC_ROLE_CLAIM is unset"),
        ({"oidc_unknown_role": "refuse"}, "nobody could sign in"),
        ({"oidc_ca_file": "/nowhere"}, "PHOTOLOG_OIDC_CA_FILE: /nowhere cannot be used"),
    ],
)
def test_contradictory_settings_are_rejected(others: dict[str, str | None], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(loaded(**others))


def test_a_provider_on_this_machine_needs_no_tls() -> None:
    check(loaded(oidc_issuer="http://127.0.0.1:8080"))
