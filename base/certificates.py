"""Who is who on an open network: an authority that is thrown away once it has signed one certificate per role.

``cryptography`` is imported only where certificates are made; checking them is the business of ``ssl``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from .errors import AuthenticationError, SerializationError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

#: Who gets a certificate: besides those who prove themselves with a secret, the scheduler.
CERTIFIED: Final = ("scheduler", "worker", "client", "observer")
#: How long certificates are good unless told otherwise.
LIFETIME_S: Final = 7 * 86400.0
#: What helps against expired ones.
RENEW: Final = (
    "start `myscheduler` again with its scheduler file, which makes new ones, and copy that file to the other machines"
)
#: A peer whose clock is behind by no more than this still takes new certificates.
_CLOCK_SKEW: Final = timedelta(days=1)
#: Workers serve data to each other, so they stand at both ends of a connection.
_SERVERS: Final = ("scheduler", "worker")
_CLIENTS: Final = ("worker", "client", "observer")


class Leaf(NamedTuple):
    """One role's certificate and its private key, both in PEM."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "<secret>"


@dataclass(frozen=True)
class Certificates:
    """The certificates of one cluster, or those of them that the holder needs.

    Parameters
    ----------
    authority : str
        The certificate that all others are signed with, in PEM. Its private key exists nowhere any more.
    valid_until : float
        When they expire, in seconds since 1970.
    leaves : mapping of str to Leaf
        By role.

    Examples
    --------
    >>> made = issue("ab" * 16)
    >>> made
    Certificates(scheduler=<secret>, worker=<secret>, client=<secret>, observer=<secret>)
    >>> made.restricted("worker")
    Certificates(worker=<secret>)
    """

    authority: str
    valid_until: float
    leaves: Mapping[str, Leaf]

    def __post_init__(self) -> None:
        object.__setattr__(self, "leaves", MappingProxyType(dict(self.leaves)))

    def restricted(self, *roles: str) -> Certificates:
        """Those of ``roles`` only, as far as they are among these."""
        leaves = {role: self.leaves[role] for role in roles if role in self.leaves}
        return Certificates(self.authority, self.valid_until, leaves)

    @property
    def remaining(self) -> float:
        """Seconds until they expire; negative once they have."""
        return self.valid_until - time.time()

    @property
    def expiry(self) -> str:
        """When they expire, for humans, in local time."""
        return datetime.fromtimestamp(self.valid_until).astimezone().strftime("%Y-%m-%d %H:%M")

    def to_dict(self) -> dict[str, Any]:
        """For JSON in a private file or pipe; the result holds the keys in the clear."""
        leaves = {role: list(leaf) for role, leaf in self.leaves.items()}
        return {"authority": self.authority, "valid_until": self.valid_until, "roles": leaves}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Certificates:
        """What ``to_dict`` made; AuthenticationError if it is anything else."""
        try:
            leaves = {str(role): Leaf(str(pair[0]), str(pair[1])) for role, pair in dict(data["roles"]).items()}
            return cls(str(data["authority"]), float(data["valid_until"]), leaves)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError):
            # Without the cause: its text could quote a key.
            raise AuthenticationError(
                "these are no certificates: expected an authority, a time and two PEM texts per role"
            ) from None

    def __repr__(self) -> str:
        return f"Certificates({', '.join(f'{role}=<secret>' for role in self.leaves)})"

    def __reduce__(self) -> NoReturn:
        raise SerializationError("Certificates are not pickled, so that keys cannot travel inside tasks or results")


def name_of(role: str, cluster: str) -> str:
    """The name that the certificate of a role carries.

    Examples
    --------
    >>> name_of("worker", "ab" * 16)
    'worker.abababababababababababababababab.myscheduler'
    """
    return f"{role}.{cluster}.myscheduler"


def issue(cluster: str, lifetime: float = LIFETIME_S) -> Certificates:
    """Make an authority and a certificate for every role, and forget the authority's key.

    Parameters
    ----------
    cluster : str
        The cluster's name, which becomes part of every certificate's.
    lifetime : float
        Seconds until they expire.

    Returns
    -------
    Certificates

    Raises
    ------
    AuthenticationError
        The package ``cryptography`` is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise AuthenticationError(
            f"connections between machines are encrypted with certificates, and making them needs the package "
            f"cryptography ({error}): pip install cryptography"
        ) from error
    now = datetime.now(UTC)
    begin, end = now - _CLOCK_SKEW, now + timedelta(seconds=lifetime)
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _signed(f"authority.{cluster}.myscheduler", key, None, key, begin, end)
    leaves = {}
    for role in CERTIFIED:
        own = ec.generate_private_key(ec.SECP256R1())
        leaves[role] = Leaf(_pem(_signed(name_of(role, cluster), own, authority, key, begin, end, role)), _key_pem(own))
    return Certificates(_pem(authority), end.timestamp(), leaves)


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
    role: str | None = None,
) -> x509.Certificate:
    """A certificate: the authority's own if there is no issuer, else that of a role."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    # A common name holds 64 characters, too few for ours; the name that counts is the alternative one.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"myscheduler {role or 'authority'}")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None), True)
        .add_extension(_key_usage(issuer is None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
    )
    if role is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        builder = builder.add_extension(_purposes(role), False)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_usage(signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _purposes(role: str) -> x509.ExtendedKeyUsage:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    purposes = [ExtendedKeyUsageOID.SERVER_AUTH] if role in _SERVERS else []
    return x509.ExtendedKeyUsage(purposes + ([ExtendedKeyUsageOID.CLIENT_AUTH] if role in _CLIENTS else []))


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
