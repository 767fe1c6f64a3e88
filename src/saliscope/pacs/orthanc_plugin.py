"""The script for Orthanc's Python plugin that sends each stable study to our node: standard library only."""

from __future__ import annotations

import re
from textwrap import dedent

from saliscope.core.errors import PacsError

#: Modalities of images (PS3.3 C.7.3.1.1.1) that are worth sending; reports, segmentations and the like are not.
MODALITIES = (
    "CR", "CT", "DX", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT", "PT", "RF", "RG", "SC", "US",
    "XA", "XC",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")

_SCRIPT = '''\
    """Sends the image series of each stable study to saliscope, by C-STORE, in Orthanc's own jobs.

    Written by `saliscope pacs orthanc-script`. In orthanc.json:
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancPython.so"],
        "PythonScript": "/etc/orthanc/saliscope_orthanc.py",
        "DicomModalities": {@NODE@: ["SALISCOPE", "127.0.0.1", 11112]}
    What saliscope made (its name as manufacturer, series numbers from 9000) is never sent back to it.
    A job that fails, such as while saliscope is down, is tried again every minute, for a day.
    """

    import json
    import threading

    import orthanc

    NODE = @NODE@
    MODALITIES = @MODALITIES@
    WAIT_S, TRIES = 60.0, 24 * 60

    lock = threading.Lock()
    sent = {}  # series -> how many instances it had; saliscope takes a second sending as what it is
    jobs = {}  # job -> how often it was tried


    def number(text):
        try:
            return int(str(text).strip())
        except ValueError:
            return 0


    def wanted(series):
        """Return whether a series is of images, not made by saliscope, and has grown since it was sent."""
        tags = series["MainDicomTags"]
        ours = tags.get("Manufacturer", "").strip() == "saliscope" and number(tags.get("SeriesNumber", "")) >= 9000
        if ours or tags.get("Modality", "").strip() not in MODALITIES:
            return False
        return sent.get(series["ID"]) != len(series["Instances"])


    def stable(study):
        found = [s for s in json.loads(orthanc.RestApiGet("/studies/%s/series" % study)) if wanted(s)]
        if not found:
            return
        asked = {"Resources": [s["ID"] for s in found], "Synchronous": False, "Permissive": True}
        job = json.loads(orthanc.RestApiPost("/modalities/%s/store" % NODE, json.dumps(asked)))["ID"]
        jobs[job] = 1
        sent.update({s["ID"]: len(s["Instances"]) for s in found})


    def again(job):
        try:
            orthanc.RestApiPost("/jobs/%s/resubmit" % job, "")
        except orthanc.OrthancException:
            orthanc.LogError("saliscope: a job that failed is no more")


    def on_change(change, level, resource):
        try:
            with lock:
                if change == orthanc.ChangeType.STABLE_STUDY:
                    stable(resource)
                elif change == orthanc.ChangeType.JOB_SUCCESS:
                    jobs.pop(resource, None)
                elif change == orthanc.ChangeType.JOB_FAILURE and 0 < jobs.get(resource, 0) < TRIES:
                    jobs[resource] += 1
                    timer = threading.Timer(WAIT_S, again, [resource])
                    timer.daemon = True
                    timer.start()
        except Exception as error:  # an error must not reach Orthanc's own thread
            orthanc.LogError("saliscope: %s" % type(error).__name__)


    orthanc.RegisterOnChangeCallback(on_change)
'''


def script(node: str) -> str:
    """Return the script; `node` is our name in Orthanc's DicomModalities. Raises PacsError for what is no name."""
    if not _NAME.fullmatch(node):
        raise PacsError(f"the name {node!r}", expected="letters, digits, - and _", do="Take that of DicomModalities")
    words = {"@NODE@": f'"{node}"', "@MODALITIES@": repr(MODALITIES)}
    text = dedent(_SCRIPT)
    for mark, value in words.items():
        text = text.replace(mark, value)
    return text
