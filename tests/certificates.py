"""Certificates of a private authority, as servers inside a network have them."""

import subprocess
from pathlib import Path

import msgspec


class Certified(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate for 127.0.0.1, its key, and the ``authority`` that signed it."""

    certificate: Path
    key: Path
    authority: Path


def certify(folder: Path) -> Certified:
    """Create the folder, and in it certificates that are valid for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certified(
        certificate=folder / "public.crt",
        key=folder / "private.key",
        authority=folder / "authority.pem",
    )
    signing = folder / "authority.key"
    _openssl("/CN=an authority of our own", signing, made.authority)
    _openssl(
        *("/CN=a server", made.key, made.certificate),
        *("-CA", str(made.authority), "-CAkey", str(signing)),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"),
    )
    return made


def _openssl(subject: str, key: Path, certificate: Path, *more: str) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", subject, *more),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
