"""A real API server for the tests that are marked `cluster`: one for the session, with our kinds in it."""

import pytest
from support.api_server import run_api_server
from theblock_operator.schema import ROOT


@pytest.fixture(scope="session")
def api_server():
    with run_api_server() as server:
        server.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        yield server
