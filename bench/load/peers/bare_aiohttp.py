"""The floor: a server, a loop, JSON. No validation, no retries, no ledger, no transcript, no telemetry."""

import json
import os
from typing import Any

import aiohttp
from aiohttp import web

from bench.load import world

ENDPOINT = os.environ["BENCH_ENDPOINT"]


async def post(session: aiohttp.ClientSession, path: str, body: Any, **headers: str) -> Any:
    async with session.post(ENDPOINT + path, data=json.dumps(body).encode(), headers=headers) as answer:
        return json.loads(await answer.read())


async def invoke(request: web.Request) -> web.Response:
    rollout = json.loads(await request.read())
    task, meta = json.loads(rollout["prompt"])["input"], rollout["metadata"]
    session: aiohttp.ClientSession = request.app[SESSION]
    who = {
        "X-Amzn-SageMaker-Job-Arn": meta["jobArn"],
        "X-Amzn-SageMaker-Trajectory-Id": meta["rolloutId"],
        "Authorization": "Bearer token",
        "Content-Type": "application/json",
    }
    messages: list[Any] = [
        {"role": "system", "content": world.system_text()},
        {"role": "user", "content": world.user_text(task["case"])},
    ]
    while True:
        body = {"model": world.MODEL, "messages": messages, "tools": world.tools(), "temperature": 1.0}
        message = (await post(session, "/sample", body, **who))["choices"][0]["message"]
        messages.append(message)
        if not message.get("tool_calls"):
            break
        for call in message["tool_calls"]:
            function = call["function"]
            result = world.call(function["name"], json.loads(function["arguments"]), task["result_bytes"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    reward = float(world.right(message["content"]))
    trajectory = {"TrajectoryId": meta["rolloutId"], "JobArn": meta["jobArn"]}
    await post(session, "/complete-rollout", {**trajectory, "Status": "ready"}, **who)
    await post(session, "/update-reward", {**trajectory, "Rewards": [reward]}, **who)
    return web.Response(body=b"{}", content_type="application/json")


async def ping(_: web.Request) -> web.Response:
    return web.Response(body=b'{"status": "Healthy"}', content_type="application/json")


SESSION = web.AppKey("session", aiohttp.ClientSession)


async def app() -> web.Application:
    made = web.Application()
    made[SESSION] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    made.add_routes([web.post("/invocations", invoke), web.get("/ping", ping)])
    return made


if __name__ == "__main__":
    web.run_app(app(), host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None)
