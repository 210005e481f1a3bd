"""The device that objectives are tested on, as training is."""

import os

import pytest


@pytest.fixture(scope="session")
def device():
    from sae.common.devices import choose

    return choose(os.environ.get("SAE_TEST_DEVICE", "auto"))
