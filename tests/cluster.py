"""A pytest plugin: a private PostgreSQL for the run, thrown away afterwards.

It is loaded with `-p tests.cluster`, before pytest-django reads the settings. The workers of pytest-xdist
inherit the address from the process that started the cluster.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from hetuflow.embedded_postgres import EmbeddedPostgres

_server: EmbeddedPostgres | None = None
_folder: str | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    global _server, _folder
    if "PYTEST_XDIST_WORKER" in os.environ or os.environ.get("HETUFLOW_TEST_CLUSTER"):
        return
    _folder = tempfile.mkdtemp(prefix="hf-test-")
    Path(_folder).chmod(0o711)
    os.environ["HETUFLOW_DATA_DIR"] = f"{_folder}/data"
    Path(f"{_folder}/data/static").mkdir(parents=True)  # whitenoise warns where it is missing
    if given := os.environ.get("HETUFLOW_TEST_DATABASE_URL"):
        os.environ["DATABASE_URL"] = given
    else:
        _server = EmbeddedPostgres(Path(_folder) / "cluster", throw_away=True)
        os.environ["DATABASE_URL"] = _server.start()
    os.environ["HETUFLOW_TEST_CLUSTER"] = os.environ["DATABASE_URL"]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    if _server is not None:
        _server.stop()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)
