"""The fake service, for every test of the runtime."""

from collections.abc import AsyncIterator

import pytest

from adapters.runtime.fakes import FakeJobRuntime


@pytest.fixture
async def service() -> AsyncIterator[FakeJobRuntime]:
    async with FakeJobRuntime() as served:
        yield served
