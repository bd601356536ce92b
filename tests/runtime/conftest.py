"""Fixtures of the runtime's tests: the fake service, and a ledger table on an emulator."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from adapters.runtime.fakes import FakeJobRuntime
from tests.runtime.dynamo_kit import KEYS, Clock, connect, emulator


@pytest.fixture
async def service() -> AsyncIterator[FakeJobRuntime]:
    async with FakeJobRuntime() as served:
        yield served


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("aws") / "log") as served:
        yield served


@pytest.fixture(scope="module")
def dynamo(url: str) -> Any:
    return connect(url)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def key() -> str:
    return next(KEYS)
