"""Frames that only gdcm decodes, in a process of its own: it ends the whole process on some broken ones."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from functools import cache
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import UnreadableFile

if TYPE_CHECKING:
    from pydicom import Dataset

#: A frame that takes longer (s) is given up: the largest radiographs take one or two.
PATIENCE = 60.0
_WIDTH = 8
_LOCK = threading.Lock()


def decoded_apart(ds: Dataset, index: int, frames: int, label: str) -> npt.NDArray[Any]:
    """Return the stored pixels of one compressed frame, decoded by gdcm; raises UnreadableFile."""
    with _LOCK:
        answer = _worker(os.getpid()).ask(_alone(ds, index, frames))
        if not answer:
            _worker.cache_clear()
    if len(answer) <= 1:
        raise UnreadableFile(
            f"{label}: a compressed frame that {'its codec refused' if answer else 'ended its codec'}",
            expected="a whole file",
            do="Copy or export the file again, and open it in another viewer to compare",
        )
    pixels: npt.NDArray[Any] = np.load(BytesIO(answer), allow_pickle=False)
    return pixels


class _Worker:
    """A child that decodes: a length and a DICOM file go in, a length and an array come out."""

    def __init__(self) -> None:
        words = [sys.executable, "-m", "saliscope.read.apart"]
        self._child = subprocess.Popen(  # noqa: S603 - our own module, no input in the words
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        atexit.register(self.end)

    def ask(self, data: bytes) -> bytes:
        """Return the answer, one byte where the codec refused, none where the child ended or was too slow."""
        source, sink = self._child.stdout, self._child.stdin
        if source is None or sink is None:
            return b""
        slow = threading.Timer(PATIENCE, self._child.kill)
        slow.start()
        try:
            _send(sink, data)
            answer = _received(source)
        except OSError:
            answer = b""
        finally:
            slow.cancel()
        if not answer:
            self.end()
        return answer

    def end(self) -> None:
        """End the child."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what it did not take is lost with it
                    continue
        atexit.unregister(self.end)


@cache
def _worker(process: int) -> _Worker:
    """Return the child of a process; one that was forked makes its own."""
    del process
    return _Worker()


def _alone(ds: Dataset, index: int, frames: int) -> bytes:
    """Return a DICOM file of one frame with its image group and nothing else: no identifier goes along."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate, get_frame

    one = Dataset()
    for tag in ds.group_dataset(0x0028).keys():  # noqa: SIM118  (iterating a Dataset gives elements)
        one.add(ds[tag])
    one.NumberOfFrames = 1
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ds.file_meta.TransferSyntaxUID
    one.PixelData = encapsulate([get_frame(ds.PixelData, index, number_of_frames=frames)])
    one["PixelData"].is_undefined_length = True
    out = BytesIO()
    one.save_as(out, enforce_file_format=False)
    return out.getvalue()


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(len(data).to_bytes(_WIDTH, "big") + data)
    pipe.flush()


def _received(pipe: IO[bytes]) -> bytes:
    size = int.from_bytes(pipe.read(_WIDTH), "big")
    data = pipe.read(size)
    return data if len(data) == size else b""


def _serve() -> None:
    """Decode what comes until nothing does: a refusal is one byte."""
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array

    while data := _received(sys.stdin.buffer):
        out = BytesIO()
        try:
            np.save(out, pixel_array(dcmread(BytesIO(data), force=True), index=0, decoding_plugin="gdcm"))
        except Exception:  # noqa: BLE001 - whatever it is, the other side says that the frame is broken
            out = BytesIO(b"-")
        _send(sys.stdout.buffer, out.getvalue())


if __name__ == "__main__":
    _serve()
