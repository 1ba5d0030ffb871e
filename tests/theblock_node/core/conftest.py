import pytest
from support.chain import Chain


@pytest.fixture
def chain() -> Chain:
    """A small chain with four validators that all vote."""
    return Chain()
