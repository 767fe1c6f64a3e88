"""The libraries of the extra `pacs`, imported when needed, and kept from logging what identifies a patient."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from saliscope.core.errors import PacsError


def pynetdicom() -> Any:
    """Return pynetdicom, set to send a file's own bytes; raises PacsError where it is not installed."""
    library = _imported("pynetdicom")
    # Its log holds UIDs and the answers to queries, and would reach whatever handler the root logger has.
    logging.getLogger("pynetdicom").propagate = False
    config: Any = import_module("pynetdicom._config")
    config.STORE_SEND_CHUNKED_DATASET = True
    config.LOG_REQUEST_IDENTIFIERS = config.LOG_RESPONSE_IDENTIFIERS = False
    return library


def requests() -> Any:
    """Return requests; raises PacsError where it is not installed."""
    library = _imported("requests")
    # At DEBUG it logs the path of every request, with the UIDs in it.
    logging.getLogger("urllib3").propagate = False
    return library


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise PacsError(f"{name} is not installed", do='pip install "saliscope[pacs]"') from error
