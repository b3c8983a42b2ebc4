from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from myscheduler.base.certificates import CERTIFIED, LIFETIME_S, Certificates, issue, name_of
from myscheduler.base.errors import AuthenticationError, SerializationError

CLUSTER = "ab" * 16
MADE = issue(CLUSTER)


def leaf(role: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(MADE.leaves[role].certificate.encode())


@pytest.mark.parametrize("role", CERTIFIED)
def test_a_certificate_names_the_role_and_the_cluster(role: str) -> None:
    names = leaf(role).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name_of(role, CLUSTER)]
    key = load_pem_private_key(MADE.leaves[role].key.encode(), None)
    assert key.public_key() == leaf(role).public_key()


@pytest.mark.parametrize("role", CERTIFIED)
def test_all_are_signed_by_the_authority_and_sign_nothing(role: str) -> None:
    authority = x509.load_pem_x509_certificate(MADE.authority.encode())
    leaf(role).verify_directly_issued_by(authority)
    assert not leaf(role).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_purposes_follow_from_who_connects_to_whom() -> None:
    purposes = {
        role: [purpose._name for purpose in leaf(role).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value]
        for role in CERTIFIED
    }
    assert purposes == {
        "scheduler": ["serverAuth"],
        "worker": ["serverAuth", "clientAuth"],
        "client": ["clientAuth"],
        "observer": ["clientAuth"],
    }


def test_every_authority_is_another_one() -> None:
    assert issue(CLUSTER).authority != MADE.authority


def test_the_key_of_the_authority_is_gone() -> None:
    authority = x509.load_pem_x509_certificate(MADE.authority.encode()).public_key()
    assert all(load_pem_private_key(leaf.key.encode(), None).public_key() != authority for leaf in MADE.leaves.values())


def test_they_live_a_week() -> None:
    made = issue(CLUSTER)
    assert LIFETIME_S - 60 < made.remaining <= LIFETIME_S
    assert leaf("worker").not_valid_after_utc.timestamp() == int(MADE.valid_until)
    assert issue(CLUSTER, lifetime=-5.0).remaining < 0
    assert MADE.expiry == time.strftime("%Y-%m-%d %H:%M", time.localtime(MADE.valid_until))


def test_restricted_holds_no_more() -> None:
    assert list(MADE.restricted("worker", "client").leaves) == ["worker", "client"]
    assert list(MADE.restricted("worker").restricted("observer").leaves) == []


def test_through_json_and_back() -> None:
    assert Certificates.from_dict(MADE.to_dict()) == MADE


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        {"authority": "a", "valid_until": "soon", "roles": {}},
        {"authority": "a", "valid_until": 10**400, "roles": {}},
        {"roles": {"worker": "x"}},
    ],
)
def test_anything_else_is_refused(data: Any) -> None:
    with pytest.raises(AuthenticationError, match="these are no certificates"):
        Certificates.from_dict(data)


def test_keys_are_not_shown_and_not_pickled() -> None:
    texts = [repr(MADE), str(MADE), repr(MADE.leaves), repr(MADE.leaves["worker"])]
    assert not any("PRIVATE" in text or "BEGIN" in text for text in texts)
    with pytest.raises(SerializationError, match="are not pickled"):
        pickle.dumps(MADE)


def test_without_cryptography_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(AuthenticationError, match="pip install cryptography"):
        issue(CLUSTER)
