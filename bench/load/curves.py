"""How the adapter's CPU time grows: with an episode's turns, with what tools say, with rollouts in flight."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.load import world
from bench.load.candidates import FLOOR, OURS
from bench.load.driver import Level
from bench.load.measuring import Bench
from bench.load.plot import exponent

BASE = world.Shape(latency=0.05)
"""CPU time does not depend on the model's latency; waiting less saves time."""
TURNS = (2, 4, 8, 16, 32, 64)
RESULT_BYTES = (100, 1_000, 4_000, 16_000, 64_000, 256_000)
CONCURRENCIES = (1, 8, 32, 96, 256, 512)
SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Curve:
    """CPU seconds a rollout over one quantity, and the exponent that fits them best."""

    adapter: str
    over: str
    points: Sequence[tuple[float, float]]

    def to_json(self) -> dict[str, object]:
        return {
            "adapter": self.adapter,
            "over": self.over,
            "points": [list(point) for point in self.points],
            "exponent": round(exponent(self.points), 3),
            "exponent_upper_half": round(exponent(self.points[len(self.points) // 2 :]), 3),
        }


async def curves(bench: Bench) -> list[Curve]:
    """All curves, of the adapter and of the floor. Raises DidNotStart."""
    found: list[Curve] = []
    for candidate in (OURS, FLOOR):
        plans = {
            "turns": [(n, Level(32, 64, SECONDS), replace(BASE, turns=n)) for n in TURNS],
            "tool result bytes": [
                (n, Level(16, 32, SECONDS), replace(BASE, result_bytes=n)) for n in RESULT_BYTES
            ],
            "in flight": [(n, Level(n, max(48, 2 * n), SECONDS), BASE) for n in CONCURRENCIES],
        }
        async with bench.started(candidate, max(CONCURRENCIES)) as process:
            for over, plan in plans.items():
                points = []
                for at, level, shape in plan:
                    row = await bench.row(candidate, process, level, shape, 0)
                    if row.cpu_s_per_rollout is not None:
                        points.append((float(at), row.cpu_s_per_rollout))
                found.append(Curve(candidate.adapter, over, points))
    return found
