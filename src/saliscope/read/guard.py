"""One seam around the libraries that parse files: their errors become ours, their warnings stay inside."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack
from types import TracebackType

from saliscope.core.errors import GeometryError, SaliscopeError, TooLarge, UnreadableFile

#: Libraries that log what they find in a header.
_TALKATIVE = ("pydicom", "nibabel", "nibabel.global", "PIL", "pylibjpeg", "tifffile")
_SILENCE = logging.NullHandler()


class Guard:
    """A context in which any library's exception becomes an UnreadableFile that names the file and no tag value.

    The library's own words are left out, because they quote values from the header; so are its warnings and logs.
    """

    def __init__(self, label: str, doing: str) -> None:
        self._label, self._doing = label, doing
        self._quiet = ExitStack()
        self._heard: list[tuple[logging.Logger, list[logging.Handler], bool]] = []

    def __enter__(self) -> None:
        self._quiet.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for logger in map(logging.getLogger, _TALKATIVE):
            self._heard.append((logger, logger.handlers, logger.propagate))
            # Setting a level would have Python forget what it knows of every logger there is, which costs more than
            # to read a small picture.
            logger.handlers, logger.propagate = [_SILENCE], False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for logger, handlers, propagate in self._heard:
            logger.handlers, logger.propagate = handlers, propagate
        self._quiet.close()
        if isinstance(error, GeometryError):
            raise UnreadableFile(f"{self._label}: {error.got}", expected=error.expected, do=error.do) from None
        # A codec in Rust panics with what is no Exception, so only what the user or Python itself ends with passes.
        if error is None or isinstance(error, SaliscopeError | KeyboardInterrupt | SystemExit | GeneratorExit):
            return
        if isinstance(error, MemoryError):
            raise TooLarge(
                f"{self._label}: memory ran out while {self._doing}",
                do="Use a machine with more memory or a smaller image",
            ) from None
        if isinstance(error, PermissionError):
            raise UnreadableFile(
                f"{self._label}: no permission to read it", do="Ask for read rights, or copy the file"
            ) from None
        raise UnreadableFile(
            f"{self._label}: broken, or not what it says it is (a {type(error).__name__} while {self._doing})",
            do="Copy or export the file again, and open it in another viewer to compare",
        ) from None
