"""The kernels as each back end that this processor can run, made once."""

from __future__ import annotations

import pytest
from theblock_kernels import library


@pytest.fixture(scope="session", params=[*library.BACK_ENDS, library.EMULATED])
def kernels(request):
    library.make(request.param, library.READY)
    opened = library.open_back_end(request.param, library.READY)
    if opened is None:
        pytest.skip(f"this processor cannot run {request.param}")
    return opened
