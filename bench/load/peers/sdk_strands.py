"""The public SDK's handler with Strands on AgentCore's app, put together as its own documentation does.

One thing is kinder than its shortest example: a model and an agent are made for each rollout. One model for
the process, as in that example, gives concurrent rollouts each other's headers.
"""

import os
from typing import Any

from bedrock_agentcore.runtime import BedrockAgentCoreApp
from sagemaker.core.token_generator import generate_token
from sagemaker.train.rft import sagemaker_rft_handler
from sagemaker.train.rft.adapters.strands import wrap_model
from strands.models.openai import OpenAIModel

from bench.load import world
from bench.load.peers.strands_agent import play, task_of

app = BedrockAgentCoreApp()


async def invoke(payload: dict[str, Any]) -> dict[str, Any]:
    task = task_of(payload)
    arguments = {"api_key": generate_token(region=world.REGION), "base_url": f"{ENDPOINT}/v1"}
    model = wrap_model(OpenAIModel(client_args=arguments, model_id=world.MODEL))
    answer = await play(model, task)
    return {"reward": float(world.right(answer))}


ENDPOINT = os.environ["BENCH_ENDPOINT"]
app.entrypoint(sagemaker_rft_handler(invoke))

if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]), host="127.0.0.1")
