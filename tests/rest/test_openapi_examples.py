"""Every example of the OpenAPI document is true: requests succeed, and answers are as described."""

import asyncio
from typing import Any

import pytest

from agents.tokens import issue_token
from tests import processes
from tests.gateway.peer import Peer, in_thread, run
from tests.openapi import Operation, document, operations, problems_of, requests
from tests.rest.world import World

# What an agent must answer; a test of its own has one.
ASKS_AGENT = {"agents_commands", "connections_broadcast"}
NONE = "none"


def bodies() -> list[tuple[str, str]]:
    """Return each operation with the titles of its bodies; those that take none once without."""
    return [
        (operation.id, title)
        for operation in operations().values()
        for title in operation.body_examples() or (NONE,)
    ]


def send(client: Any, operation: Operation, path: str, body: Any) -> Any:
    """Send a request, and no body where there is none."""
    call = getattr(client, operation.method)
    return call(path) if body is None else call(path, body)


@pytest.mark.parametrize(
    ("name", "title"), [(name, title) for name, title in bodies() if name not in ASKS_AGENT]
)
@pytest.mark.django_db
def test_a_request_of_the_document_succeeds(api, name, title):
    operation, world = operations()[name], World()
    if operation.path.endswith(("/task-instances", "/task-instances/create")):
        world.task()
    if operation.path.endswith(("/backfills", "/backfills/create")):
        world.schedule()
    body = operation.body_examples().get(title)
    if body and body.get("token") == "hfe_…":
        body = {**body, "token": world.enrollment().secret}
    response = send(api, operation, world.path(operation), body)

    assert response.status_code in (200, 201, 204), response.content


@pytest.mark.django_db(transaction=True)
def test_what_the_document_asks_of_an_agent_is_acknowledged(api):
    world = World()
    token = issue_token(agent=world.agent).secret
    asked = [operations()[name] for name in sorted(ASKS_AGENT)]
    calls = [(operation, body) for operation in asked for body in operation.body_examples().values()]
    path = f"/api/v1/agents/{world.agent.pk}/commands"

    async def conversation(port: int) -> list[Any]:
        peer = await Peer.registered(port, agent_id=str(world.agent.pk), token=token)
        answers = []
        for operation, body in calls:
            there = operation.path if "{" not in operation.path else path
            call = asyncio.create_task(in_thread(lambda there=there, body=body: api.post(there, body)))
            sent = await peer.receive("command")
            await peer.send("command_result", command_id=sent["command_id"], ok=True, result={"n": 1})
            answers.append(await call)
        return answers

    with processes.server() as port:
        answers = run(conversation(port))

    assert [answer.status_code for answer in answers] == [200] * len(calls)
    assert len(calls) >= 4


@pytest.mark.parametrize(("name", "title"), [(name, title) for name, title in bodies() if title != NONE])
def test_a_body_of_the_document_is_as_its_schema_says(name, title):
    operation = operations()[name]

    found = list(problems_of(operation.body_examples()[title], operation.body_schema(), checker=requests))

    assert found == []


@pytest.mark.parametrize("name", operations())
def test_the_answers_of_the_document_are_as_their_schemas_say(name):
    for status in operations()[name].described["responses"]:
        content = operations()[name].answer(int(status)).get("content", {})
        if "application/json" in content:
            examples = content["application/json"].get("examples", {})
            found = [
                list(problems_of(example["value"], content["application/json"]["schema"]))
                for example in examples.values()
            ]
            assert found
            assert set(map(tuple, found)) == {()}


def test_a_wrong_example_would_be_noticed():
    job = {"$ref": "#/components/schemas/Job"}
    example = document()["paths"]["/api/v1/jobs/{id}"]["get"]["responses"]["200"]["content"]
    value = example["application/json"]["examples"]["Answer"]["value"]

    assert list(problems_of(value, job)) == []
    for wrong in ({**value, "colour": "red"}, {**value, "id": "1"}, {**value, "created_at": "2026-03-01"}):
        assert len(list(problems_of(wrong, job))) == 1
