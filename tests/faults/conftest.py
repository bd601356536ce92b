"""The marker of the chaos rows."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "chaos: real workers under a fault, counted from outside (half a minute)"
    )
