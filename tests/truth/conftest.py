"""Long chains: what is typed is checked elsewhere, at every call, and here only costs time."""

import jaxtyping
import pytest


@pytest.fixture(autouse=True, scope="package")
def unchecked_signatures():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
