"""Claims become a client, a role and a name."""

from typing import Any

import pytest

from gateway.access.oidc.config import Oidc
from gateway.access.oidc.identity import PREFIX, identify
from gateway.http.auth import CLIENT_ID, AuthError, Forbidden
from gateway.http.roles import Role

ISSUER = "https://login.example.com"


def config(issuer: str = ISSUER, **others: Any) -> Oidc:
    return Oidc(issuer=issuer, client_id="photolog", public_url="https://p.example.com", **others)


def client_of(of: Oidc, **claims: Any) -> str:
    return identify({"sub": "1", **claims}, of).client_id


@pytest.mark.parametrize("subject", ["1", "alice", "auth0|5f7c", "ü" * 255, "a b\n", "oidc-1"])
def test_every_subject_has_a_client_id(subject: str) -> None:
    found = client_of(config(), sub=subject)

    assert CLIENT_ID.fullmatch(found)
    assert found.startswith(PREFIX)
    assert found == client_of(config(), sub=subject)


def test_no_two_subjects_providers_or_claims_have_the_same_client_id() -> None:
    other = config("https://login.example.org")
    by_login = config(client_claim="login")

    found = {
        client_of(config(), sub="1"),
        client_of(config(), sub="2"),
        client_of(other, sub="1"),
        client_of(by_login, login="not an id: 1"),
        client_of(config(client_claim="user"), user="not an id: 1"),
    }

    assert len(found) == 5


def test_another_claim_is_the_client_id_if_it_can_be_one() -> None:
    by_login = config(client_claim="preferred_username")

    assert client_of(by_login, preferred_username="alice@home") == "alice@home"


def test_a_claim_cannot_name_the_client_of_a_subject() -> None:
    victim = client_of(config(), sub="victim")

    taken = client_of(config(client_claim="preferred_username"), preferred_username=victim)

    assert taken != victim
    assert taken.startswith(PREFIX)


@pytest.mark.parametrize("value", [None, "", 7, ["alice"], {"a": 1}, "x" * 1_001])
def test_a_missing_or_malformed_client_claim_is_not_trusted(value: Any) -> None:
    with pytest.raises(AuthError, match="does not say who you are") as error:
        client_of(config(client_claim="login"), login=value)

    assert error.value.code == "invalid-identity"


@pytest.mark.parametrize("verified", [None, False, "true", 1])
def test_an_address_that_is_not_verified_identifies_nobody(verified: Any) -> None:
    by_email = config(client_claim="email", name_claim="email")
    claims = {"email": "alice@example.com", "email_verified": verified}

    with pytest.raises(AuthError, match="has not verified"):
        client_of(by_email, **claims)
    assert identify({"sub": "1", **claims}, config(name_claim="email")).name is None

    verified_claims = {**claims, "email_verified": True}
    person = identify({"sub": "1", **verified_claims}, by_email)
    assert (person.client_id, person.name) == ("alice@example.com", "alice@example.com")


ROLES = {
    "role_claim": "realm_access.roles",
    "operators": "ops, on call",
    "auditors": "audit",
    "clients": "family",
}


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        (["ops"], Role.OPERATOR),
        ("on call", Role.OPERATOR),
        (["family", "audit"], Role.AUDITOR),
        (["audit", "ops"], Role.OPERATOR),
        (["family"], Role.CLIENT),
        (["OPS"], Role.CLIENT),
        (["ops, on call"], Role.CLIENT),
        ([["ops"], 7, None], Role.CLIENT),
        ([], Role.CLIENT),
        (None, Role.CLIENT),
    ],
)
def test_the_values_of_the_role_claim_make_the_role(roles: Any, role: Role) -> None:
    claims = {"sub": "1", "realm_access": {"roles": roles}}

    assert identify(claims, config(**ROLES)).role is role


def test_the_name_of_a_claim_may_contain_dots_itself() -> None:
    of = config(role_claim="https://example.com/roles", operators="ops")

    assert identify({"sub": "1", "https://example.com/roles": "ops"}, of).role is Role.OPERATOR


def test_nobody_is_an_operator_by_default() -> None:
    claims = {"sub": "1", "role": "operator", "roles": ["operator"], "groups": ["operators", ""]}

    assert identify(claims, config()).role is Role.CLIENT
    assert identify(claims, config(role_claim="groups")).role is Role.CLIENT


@pytest.mark.parametrize("roles", [["guest"], None, [""]])
def test_people_without_a_known_role_can_be_refused(roles: Any) -> None:
    of = config(**ROLES, unknown_role="refuse")

    with pytest.raises(Forbidden) as error:
        identify({"sub": "1", "realm_access": {"roles": roles}}, of)

    assert error.value.code == "sign-in-refused"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Ann Lee", "Ann Lee"),
        ("  Ann \n Lee ", "Ann Lee"),
        ("Zoë O'Brien-Núñez", "Zoë O'Brien-Núñez"),
        ("A" * 100, "A" * 64),
        ("operator:Bob", None),
        ("<b>Ann</b>", None),
        ("", None),
        (7, None),
        (None, None),
    ],
)
def test_a_name_that_events_can_have_is_kept(given: Any, name: str | None) -> None:
    assert identify({"sub": "1", "name": given}, config()).name == name
