"""Keeps so many rollouts in flight, and says how they went."""

import asyncio
import itertools
import time
from dataclasses import dataclass, field

import aiohttp
import orjson

from bench.load import world
from bench.load.service import Service

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Level:
    """How hard an adapter is driven."""

    concurrency: int
    rollouts: int
    seconds: float
    """No rollout is started after so long; what has not ended by then is cut and counted as unfinished."""


@dataclass(slots=True)
class Drive:
    """What became of one level."""

    seconds: float = 0.0
    over_ideal: list[float] = field(default_factory=list)
    """Seconds beyond the ideal episode, one value a finished rollout."""
    errors: list[str] = field(default_factory=list)
    unfinished: int = 0


class Driver:
    """Plays the service's own part: invokes the agent, waits for its answer."""

    def __init__(self, service: Service, session: aiohttp.ClientSession, url: str, path: str) -> None:
        self._service = service
        self._session = session
        self._url = url + path

    async def drive(self, level: Level) -> Drive:
        """Run a level. Starts are spread over an episode: a service's rollouts do not march in step."""
        done, began = Drive(), time.monotonic()
        left = itertools.count()

        async def one_place(place: int) -> None:
            await asyncio.sleep(self._service.shape.ideal * place / level.concurrency)
            while next(left) < level.rollouts and time.monotonic() - began < level.seconds:
                await self._rollout(done)

        places = [asyncio.create_task(one_place(place)) for place in range(level.concurrency)]
        _, late = await asyncio.wait(places, timeout=level.seconds)
        done.seconds = time.monotonic() - began
        done.unfinished = len(late)
        for place in late:
            place.cancel()
        await asyncio.gather(*places, return_exceptions=True)
        done.errors += self._service.breaches if not late else []
        return done

    async def _rollout(self, done: Drive) -> None:
        rollout_id = f"bench-{next(_numbers):07d}"
        shape = self._service.shape
        trajectory = self._service.expect(rollout_id)
        request = world.rollout_request(rollout_id, shape.result_bytes, self._service.url)
        request["_rollout"] = {"exp_id": "bench", "input_id": rollout_id, "s3_bucket": "results"}
        began = time.monotonic()
        try:
            data = orjson.dumps(request)
            headers = {"Content-Type": "application/json"}
            async with self._session.post(self._url, data=data, headers=headers) as answer:
                content = await answer.read()
            if answer.status == 200:
                await trajectory.ended.wait()  # some answer before they are done
        except aiohttp.ClientError as error:
            done.errors.append(f"{type(error).__name__}: {error}")
            return
        seconds = time.monotonic() - began
        if answer.status != 200:
            done.errors.append(f"HTTP {answer.status} {content[:200]!r}")
        elif trajectory.samples != shape.turns or trajectory.rewards != [1.0]:
            done.errors.append(f"{rollout_id}: {trajectory.samples} samples, rewards {trajectory.rewards}")
        else:
            done.over_ideal.append(seconds - shape.ideal)
