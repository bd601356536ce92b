"""agentcore-rl-toolkit's app with Strands, after its own examples.

It reports by writing a result file to object storage, which the simulated service takes as the seal and the
reward. The rollout's headers are set by hand: the toolkit's trainers tell rollouts apart by the API key.
"""

import os
from typing import Any

from agentcore_rl_toolkit import AgentCoreRLApp
from strands.models.openai import OpenAIModel

from bench.load import world
from bench.load.peers.strands_agent import play, task_of

ENDPOINT = os.environ["BENCH_ENDPOINT"]
app = AgentCoreRLApp()


async def invoke(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    task = task_of(payload)
    headers = {
        "X-Amzn-SageMaker-Job-Arn": payload["metadata"]["jobArn"],
        "X-Amzn-SageMaker-Trajectory-Id": payload["metadata"]["rolloutId"],
    }
    arguments = {"api_key": "EMPTY", "base_url": f"{ENDPOINT}/v1", "default_headers": headers}
    answer = await play(OpenAIModel(client_args=arguments, model_id=world.MODEL), task)
    return {"rewards": float(world.right(answer))}


app.rollout_entrypoint(invoke)

if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]), host="127.0.0.1")
