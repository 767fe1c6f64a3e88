"""What all tests share: where the real data lie, and one thread so that results repeat."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from real_data import data_folder

pytest_plugins = ["dicom_tools"]  # the fixture `orthanc`

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Case names by a key of the tests' own: none is read from, or made in, the home of whoever runs them.
os.environ["SALISCOPE_CASE_KEY"] = "a key for tests only, 32 bytes long"

# A busy machine is no failure; and what CI judges is the same examples every time.
settings.register_profile("house", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("house")


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real data; skip without it, but fail in CI, where it must be."""
    folder = data_folder()
    if folder is None:
        reason = "no real data: set SALISCOPE_DATA or put them in ../shared/data"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
