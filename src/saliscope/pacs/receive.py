"""A C-STORE and C-ECHO SCP (PS3.4 annexes A and B): what it acknowledges lies on the disk and in the queue.

An object is written as it came, under a name that says nothing, synced, recorded, and only then acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, cast

from saliscope.core.errors import PacsError
from saliscope.pacs.config import Config
from saliscope.pacs.intake import NOT_UNDERSTOOD, SUCCESS, SYNTAXES, Intake, Keeper, Refused, Spool

if TYPE_CHECKING:
    import ssl

    from pynetdicom.association import Association
    from pynetdicom.dimse_messages import C_STORE_RQ
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event

    from saliscope.pacs.bounded import BoundedMessages, BoundedServer

#: The classes of PS3.4 B.5 that hold pictures of a patient; what holds no picture is not explained.
IMAGES = (
    "ComputedRadiographyImageStorage", "DigitalXRayImageStorageForPresentation",
    "DigitalXRayImageStorageForProcessing", "DigitalMammographyXRayImageStorageForPresentation",
    "DigitalMammographyXRayImageStorageForProcessing", "DigitalIntraOralXRayImageStorageForPresentation",
    "DigitalIntraOralXRayImageStorageForProcessing", "CTImageStorage", "EnhancedCTImageStorage",
    "LegacyConvertedEnhancedCTImageStorage", "MRImageStorage", "EnhancedMRImageStorage",
    "EnhancedMRColorImageStorage", "LegacyConvertedEnhancedMRImageStorage", "UltrasoundImageStorage",
    "UltrasoundMultiFrameImageStorage", "EnhancedUSVolumeStorage", "SecondaryCaptureImageStorage",
    "MultiFrameGrayscaleByteSecondaryCaptureImageStorage", "MultiFrameGrayscaleWordSecondaryCaptureImageStorage",
    "MultiFrameTrueColorSecondaryCaptureImageStorage", "XRayAngiographicImageStorage",
    "EnhancedXAImageStorage", "XRayRadiofluoroscopicImageStorage", "EnhancedXRFImageStorage",
    "XRay3DAngiographicImageStorage", "BreastTomosynthesisImageStorage", "NuclearMedicineImageStorage",
    "PositronEmissionTomographyImageStorage", "EnhancedPETImageStorage", "VLEndoscopicImageStorage",
    "VLMicroscopicImageStorage", "VLPhotographicImageStorage", "OphthalmicPhotography8BitImageStorage",
    "OphthalmicPhotography16BitImageStorage", "OphthalmicTomographyImageStorage",
)  # fmt: skip


class Receiver:
    """The SCP of a configuration: `with Receiver.of(config, queue, told):` serves until the block ends.

    `told` is given a line, without identifiers, for everything that was refused. Raises PacsError for a port that is
    taken.
    """

    def __init__(self, config: Config, queue: Keeper, told: Callable[[str], None], tls: ssl.SSLContext | None) -> None:
        self._config, self._told, self._tls = config, told, tls
        self._intake = Intake(config.node.folder, config.node.max_object_mb * 2**20, queue)
        self._server: BoundedServer | None = None

    @classmethod
    def of(cls, config: Config, queue: Keeper, told: Callable[[str], None]) -> Self:
        """Return the receiver of a node; raises PacsError for certificates that cannot be used."""
        if config.node.tls is None:
            return cls(config, queue, told, None)
        from saliscope.pacs.tls import server_context

        return cls(config, queue, told, server_context(config.node.tls))

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        from threading import Thread

        self._intake.open()
        self._server = self._listening()
        Thread(target=self._server.serve_forever, args=(0.1,), daemon=True, name="receiver").start()
        return self

    def __exit__(self, *_: object) -> None:
        from saliscope.pacs.bounded import drop

        if self._server is not None:
            self._server.shutdown()
            for caller in self._server.callers:
                drop(caller)
            for caller in self._server.callers:
                caller.join(5)

    def _listening(self) -> BoundedServer:
        from saliscope.pacs.libraries import pynetdicom

        pynetdicom()
        from pynetdicom import AE, _config, evt
        from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

        from saliscope.pacs.bounded import ASK_S, UNIT_BYTES, BoundedServer

        _config.LOG_HANDLER_LEVEL = "none"  # nobody reads them, and they name what was sent
        node = self._config.node
        ae = AE(node.ae_title)
        ae.maximum_pdu_size, ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = UNIT_BYTES, ASK_S, 30, 60
        ae.maximum_associations = 10_000  # counted in _answer, where those who asked for nothing do not count
        ae.add_supported_context(Verification)
        for uid in image_classes():
            ae.add_supported_context(uid, list(SYNTAXES))
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._answer),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_CONN_CLOSE, _clean),
        ]
        try:
            made = ae.make_server(
                (node.host, node.port), evt_handlers=handlers, ssl_context=self._tls, server_class=BoundedServer,
                places=node.max_associations + 32, spool=self._spool,
            )  # fmt: skip
        except OSError as error:
            raise PacsError(
                f"{node.host}:{node.port} cannot be listened on ({error.strerror})",
                expected="an address of this machine and a free port",
                do="Change host or port in [node], or end what listens there",
            ) from error
        server = cast("BoundedServer", made)
        ae._servers.append(server)  # noqa: SLF001 - shutdown takes it from there
        return server

    def _answer(self, event: Event) -> None:
        """Reject whoever may not call, calls somebody else, or is one too many (PS3.8 9.3.4)."""
        assoc, asked = event.assoc, event.assoc.requestor.primitive
        assert asked is not None and self._server is not None  # noqa: PT018
        established = sum(c.is_established for c in self._server.callers)
        if asked.called_ae_title.strip() != self._config.node.ae_title:
            reason, why = (0x01, 0x01, 0x07), "called another AE title than ours"
        elif self._config.may_call(asked.calling_ae_title, str(assoc.requestor.address)) is None:
            reason, why = (0x01, 0x01, 0x03), "is not among the peers that may send"
        elif established >= self._config.node.max_associations:
            reason, why = (0x02, 0x03, 0x02), "is one more than max_associations"
        else:
            return
        self._told(f"rejected a caller who {why}")
        assoc.acse.send_reject(*reason)
        assoc.kill()

    def _spool(self, message: C_STORE_RQ, assoc: Association) -> Spool:
        command = message.command_set
        context = assoc._accepted_cx.get(message.context_id or 0)  # noqa: SLF001
        uids = str(command.get("AffectedSOPClassUID", "")), str(command.get("AffectedSOPInstanceUID", ""))
        return self._intake.spool(*uids, str(context.transfer_syntax[0]) if context else "")

    def _store(self, event: Event) -> int:
        """Return the status of a C-STORE request."""
        request = cast("C_STORE", event.request)
        peer = self._config.may_call(event.assoc.requestor.ae_title, str(event.assoc.requestor.address))
        caller = peer.name if peer else ""
        spool = cast("BoundedMessages", event.assoc.dimse).spool_of(request)
        try:
            if spool is None:
                raise Refused(NOT_UNDERSTOOD, "it came without a data set")
            self._intake.keep(spool, str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), caller)
        except Refused as refused:
            self._told(f"refused an object of {caller}: {refused.why}")
            return refused.status
        finally:
            if spool is not None:
                spool.discard()
        return SUCCESS


def image_classes() -> tuple[str, ...]:
    """Return the UIDs of the SOP classes that are taken."""
    import pydicom.uid

    return tuple(str(getattr(pydicom.uid, name)) for name in IMAGES)


def _clean(event: Event) -> None:
    with suppress(AttributeError):
        event.assoc.dimse.discard()  # type: ignore[attr-defined]
