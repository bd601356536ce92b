"""FastAPI and the openai client, with the public SDK's headers and feedback: its documentation's own loop.

The handler is an ordinary function, as documented, so FastAPI runs it in its thread pool of 40; the client is
made for each request.
"""

import json
import os
from typing import Any

import uvicorn
from fastapi import FastAPI
from openai import OpenAI
from sagemaker.core.token_generator import generate_token
from sagemaker.train.rft import RolloutFeedbackClient, make_inference_headers

from bench.load import world

app = FastAPI()
ENDPOINT = os.environ["BENCH_ENDPOINT"]


def invoke(payload: dict[str, Any]) -> dict[str, Any]:
    task = json.loads(payload["prompt"])["input"]
    client = OpenAI(
        base_url=f"{ENDPOINT}/v1",
        api_key=generate_token(region=world.REGION),
        default_headers=make_inference_headers(payload["metadata"]),
    )
    messages: list[Any] = [
        {"role": "system", "content": world.system_text()},
        {"role": "user", "content": world.user_text(task["case"])},
    ]
    while True:
        completion = client.chat.completions.create(
            model=world.MODEL, messages=messages, tools=world.tools(), temperature=1.0
        )
        message = completion.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            break
        for call in message.tool_calls:
            arguments = json.loads(call.function.arguments)
            result = world.call(call.function.name, arguments, task["result_bytes"])
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    reward = float(world.right(message.content or ""))
    RolloutFeedbackClient(payload["metadata"]).report_complete(reward)
    return {"reward": reward}


def ping() -> dict[str, str]:
    return {"status": "Healthy"}


app.add_api_route("/invocations", invoke, methods=["POST"])
app.add_api_route("/ping", ping)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
