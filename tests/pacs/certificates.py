"""Certificates for tests, made by openssl: an authority, and who it signed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dicom_tools import tool
from saliscope.pacs.node import Tls


def authority(folder: Path, name: str = "ca") -> Path:
    """Return the certificate of a new authority."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", f"/CN={name}", "-keyout", key, "-out", certificate)  # fmt: skip
    return certificate


def signed(folder: Path, name: str, ca: Path, host: str = "IP:127.0.0.1", trusts: Path | None = None) -> Tls:
    """Return a certificate and key that an authority signed for a host."""
    key, request, certificate, more = (folder / f"{name}.{end}" for end in ("key", "csr", "crt", "ext"))
    more.write_text(f"subjectAltName={host}\n")
    _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
             "-keyout", key, "-out", request)  # fmt: skip
    _openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca.with_suffix(".key"), "-CAcreateserial",
             "-days", "2", "-extfile", more, "-out", certificate)  # fmt: skip
    return Tls(certificate, key, trusts or ca)


def _openssl(*words: object) -> None:
    subprocess.run([tool("openssl"), *map(str, words)], check=True, capture_output=True, timeout=60)
