"""`saliscope pacs`: DICOM objects in and out, and a node that explains what it is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saliscope.cli.show import as_json, line, table

if TYPE_CHECKING:
    from saliscope.pacs.config import Config

pacs_app = typer.Typer(
    name="pacs",
    help="Send, find, fetch and receive DICOM; explain what arrives and send the results back. Research use only.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ConfigPath = Annotated[
    Path,
    typer.Option("--config", "-c", help="The TOML file that says who the peers are (see `saliscope pacs config`)."),
]
PeerName = Annotated[str, typer.Argument(metavar="PEER", help="The name of a peer, as in [peers.NAME].")]
Json = Annotated[bool, typer.Option("--json", help="Write what came of it as JSON to stdout.")]
CONFIG = Path("saliscope.toml")


@pacs_app.command("config")
def config_() -> None:
    """Print an example of the configuration: saliscope pacs config > saliscope.toml.

    It is commented, and works as it is: it listens on 127.0.0.1:11112 and lets the AE title ARCHIVE in.
    """
    from saliscope.pacs.config import example

    line(example().rstrip())


@pacs_app.command()
def echo(peer: PeerName, config: ConfigPath = CONFIG) -> None:
    """Ask a peer whether it answers, under the names that both sides use (C-ECHO, or a small QIDO search)."""
    from saliscope.study.traffic import answered

    read = _read(config)
    seconds = answered(read, read.peer(peer))
    line(f"{peer} answers, in {seconds * 1000:.0f} ms.")


@pacs_app.command()
def send(
    peer: PeerName,
    inputs: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files, and folders of them.")],
    config: ConfigPath = CONFIG,
    json: Json = False,
) -> None:
    """Send DICOM files to a peer as they are, such as what `saliscope explain --dicom` wrote (C-STORE or STOW).

    Exit code 0: all sent. 2: none could be sent. 3: some were not, each told in a line.
    """
    from saliscope.study.traffic import files_of, sent_to

    read = _read(config)
    found = sent_to(read, read.peer(peer), files_of(inputs))
    if json:
        as_json(found.described())
    else:
        for why, count in found.failures.items():
            line(f"{count} not sent: {why}")
        line(found.sentence())
    if found.exit_code:
        raise typer.Exit(found.exit_code)


@pacs_app.command()
def find(
    peer: PeerName,
    date: Annotated[str, typer.Option("--date", help="A day YYYYMMDD, or from-to: 20260101-20260131.")] = "",
    modality: Annotated[str, typer.Option("--modality", help="CT, MR, CR, DX, US ...")] = "",
    study: Annotated[str, typer.Option("--study", help="A Study Instance UID.")] = "",
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="Stop after so many studies.")] = 100,
    descriptions: Annotated[
        bool, typer.Option("--descriptions", help="Show study descriptions too: free text, which may name a patient.")
    ] = False,
    config: ConfigPath = CONFIG,
    json: Json = False,
) -> None:
    """List the studies that a peer holds (C-FIND or QIDO), without whose they are.

    Give at least --date, --modality or --study. The Study Instance UID is what `saliscope pacs fetch` takes.
    """
    from dataclasses import asdict, replace

    from saliscope.study.traffic import studies_at

    read = _read(config)
    words = {"StudyDate": date, "ModalitiesInStudy": modality, "StudyInstanceUID": study}
    found = studies_at(read, read.peer(peer), {k: v for k, v in words.items() if v}, most)
    rows = found if descriptions else [replace(row, description="") for row in found]
    if json:
        as_json([asdict(row) for row in rows])
        return
    table(
        [
            {
                "date": row.date,
                "modality": ",".join(row.modalities),
                "series": str(row.series),
                "objects": str(row.objects),
                **({"description": row.description} if descriptions else {}),
                "study": row.study_uid,
            }
            for row in rows
        ]
    )
    line(f"{len(rows)} {'study' if len(rows) == 1 else 'studies'}.")


@pacs_app.command()
def fetch(
    peer: PeerName,
    study: Annotated[str, typer.Argument(metavar="STUDY_UID", help="As `saliscope pacs find` lists it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the files: 000001.dcm, 000002.dcm ...")],
    config: ConfigPath = CONFIG,
) -> None:
    """Fetch a study from a peer by DICOMweb (WADO), whole or not at all, for `saliscope explain`."""
    from saliscope.study.traffic import fetched

    found = fetched(_read(config).peer(peer), study, out)
    line(f"{len(found)} objects in {out}. They hold the patient's name: keep them private.")


@pacs_app.command()
def serve(
    config: ConfigPath = CONFIG,
    watch: Annotated[
        str,
        typer.Option(
            "--watch", help="The root of an Orthanc's REST API; its stable studies are taken as if they were sent."
        ),
    ] = "",
) -> None:
    """Receive studies, explain each by the first rule that fits, send the results on; until Ctrl-C or SIGTERM.

    What is acknowledged lies on the disk. A kill at any moment loses nothing: the next start goes on, and a peer that
    answers C-FIND or QIDO is asked before an object goes out a second time.
    Progress, without identifiers, goes to stderr; `saliscope pacs status` tells the counts.
    """
    import os
    import signal
    import sys
    import threading
    import warnings

    from saliscope.study.service import serve

    read = _read(config)
    stop = threading.Event()
    warnings.simplefilter("ignore")  # pydicom's quote the values that they find odd, such as a name
    threading.excepthook = lambda error: _told(f"a thread ended by a {error.exc_type.__name__}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not serve(read, _told, stop, watch=watch):
        sys.stderr.flush()
        os._exit(0)  # a thread inside a network does not end with the program, it breaks it


@pacs_app.command()
def status(config: ConfigPath = CONFIG, json: Json = False) -> None:
    """Tell what waits, what is done and what went wrong in a node's queue; it need not be running.

    Exit code 0: nothing failed. 3: studies or objects were given up (see `saliscope pacs retry`).
    """
    from datetime import datetime

    from saliscope.study.traffic import state_of

    found = state_of(_read(config))
    if json:
        as_json(found.described())
    else:
        table([{"what": name, "count": str(count)} for name, count in found.counts.items()])
        for one in found.errors:
            at = datetime.fromtimestamp(one.at).astimezone().isoformat(" ", "seconds")
            line(f"{at}  {one.doing}{f' {one.peer}' if one.peer else ''}: {one.why}")
    if found.given_up:
        raise typer.Exit(3)


@pacs_app.command()
def retry(
    peer: Annotated[str, typer.Argument(metavar="[PEER]", help="Only what is owed to this peer.")] = "",
    config: ConfigPath = CONFIG,
) -> None:
    """Make due again what was given up: objects for a peer, or for all, and then failed studies too."""
    from contextlib import closing

    from saliscope.pacs.queue import Queue

    read = _read(config)
    name = read.peer(peer).name if peer else None
    with closing(Queue.opened(read.node.folder)) as queue:
        line(f"{queue.retry(name)} made due.")


@pacs_app.command("orthanc-script")
def orthanc_script(
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write, for PythonScript in orthanc.json.")],
    modality: Annotated[
        str, typer.Option("--as", help="The name of our node in Orthanc's DicomModalities.")
    ] = "saliscope",
) -> None:
    """Write the script for Orthanc's Python plugin that sends each stable study to our node.

    It sends image series only, and none that saliscope made.
    """
    from saliscope.pacs.orthanc_plugin import script
    from saliscope.write import write_file

    write_file(out, script(modality).encode())
    line(f'{out} written. In orthanc.json: "Plugins": [".../libOrthancPython.so"], "PythonScript": "{out}"')


def _read(path: Path) -> Config:
    from saliscope.pacs.config import Config

    return Config.read(path)


def _told(what: str) -> None:
    import sys
    from datetime import datetime

    sys.stderr.write(f"{datetime.now().astimezone().isoformat(' ', 'seconds')} {what}\n")
    sys.stderr.flush()
