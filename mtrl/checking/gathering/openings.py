"""What some episodes show before the first turn."""

from adapters.contract import RequestError
from mtrl.checking.evidence import Evidence, Opening

OPENED = 5


async def open_some(evidence: Evidence) -> None:
    """Open episodes of tasks from all over the splits."""
    tasks = evidence.subject.tasks
    for task in tasks[:: max(1, len(tasks) // OPENED)][:OPENED]:
        try:
            async with evidence.subject.environment.open(task) as episode:
                evidence.openings.append(Opening(task, list(episode.messages), list(episode.tools)))
        except RequestError as error:
            evidence.refused.append((task, f"{type(error).__name__}: {error}"[:300]))
            evidence.faults.append(f"opening {evidence.subject.where(task)}: {error}"[:300])
        except Exception as error:  # noqa: BLE001 - an environment may raise anything
            evidence.faults.append(f"opening {task.id or 'a task'}: {type(error).__name__}: {error}"[:300])
