"""Case names that hold no identifier: a keyed hash for DICOM, the cleaned file name for the rest."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from saliscope.core.errors import InputError

#: The environment variable that may hold the key, for a team that wants the same names everywhere.
VARIABLE = "SALISCOPE_CASE_KEY"
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST = 64
#: Defined terms for images, PS3.3 C.7.3.1.1.1.
_MODALITIES = frozenset(
    {"CR", "CT", "DX", "ES", "GM", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT"}
    | {"OP", "OPT", "OT", "PT", "PX", "RF", "RG", "SM", "US", "XA", "XC"}
)


def known_modality(value: object) -> str:
    """Return the modality if it is one of the defined terms for images, else "": free text may be anything."""
    text = str(value or "").strip().upper()
    return text if text in _MODALITIES else ""


def case_key() -> bytes:
    """Return the key of case names: from the environment, else from the user's own key file, made once (mode 0600).

    Raises InputError for a key file that is empty or damaged.
    """
    given = os.environ.get(VARIABLE)
    return os.fsencode(given) if given else _stored_key(_key_file())


def keyed(prefix: str, identifier: str, key: bytes) -> str:
    """Return prefix-xxxxxxxxxxxx, twelve hexadecimal digits of HMAC-SHA256 of an identifier."""
    return f"{prefix}-{hmac.new(key, _as_bytes(identifier), hashlib.sha256).hexdigest()[:12]}"


def _as_bytes(text: str) -> bytes:
    """Return the bytes of any text: those of a file's name as they are on disk, whatever the encoding set here."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def cleaned(path: Path) -> str:
    """Return a file's stem with the characters A-Z a-z 0-9 . _ - only, at most 64 of them, safe on any system."""
    name = path.name
    for suffix in (".nii.gz", ".nii", path.suffix):
        if suffix and name.lower().endswith(suffix.lower()):
            name = name[: -len(suffix)]
            break
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:_LONGEST].rstrip("-._")
    if not name:
        return "image"
    return f"image-{name}" if _RESERVED.fullmatch(name) else name


def distinct(names: Sequence[str], addresses: Sequence[str], key: bytes) -> list[str]:
    """Return the names with a short keyed hash of the address behind each that is there twice, case aside."""
    seen = Counter(n.lower() for n in names)
    parted = [
        keyed(n, a, key)[: len(n) + 9] if seen[n.lower()] > 1 else n for n, a in zip(names, addresses, strict=True)
    ]
    # The same file named twice has one address: count those, in the order given.
    used: Counter[str] = Counter()
    final = []
    for name in parted:
        used[name.lower()] += 1
        count = used[name.lower()]
        final.append(name if count == 1 else f"{name}-{count}")
    return final


def _key_file() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "saliscope" / "case-key"


def _stored_key(path: Path) -> bytes:
    if not path.exists():
        try:
            _make_key(path)
        except OSError:
            return _passing_key()
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise InputError(
            f"the key of case names in {path.name} is damaged",
            expected="64 hexadecimal digits",
            do=f"Delete the file, and a new one is made; or set {VARIABLE}. Case names will change",
        )
    return bytes.fromhex(text)


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32) + "\n")
    try:
        os.link(draft, path)  # whole or not at all, and the first of two processes wins
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def lasts(key: bytes) -> bool:
    """Return whether names made with this key are the same in the next run."""
    return _passing_key.cache_info().currsize == 0 or key != _passing_key()


@cache
def _passing_key() -> bytes:
    """Return a key for this process only: the user's folder cannot be written."""
    return secrets.token_bytes(32)
