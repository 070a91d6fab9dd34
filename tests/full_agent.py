"""full_agent.py: a full, controlling ICE agent by aioice. Reads a JSON object a line and answers each with another:

{"do": "open", "name", "hosts", "components"}  ->  {"fragment", "password", "candidates"}
{"do": "check", "name", "fragment", "password", "candidates", "lite"}  ->  {"nominated": {component: [host, port]}}, or null
{"do": "send", "name", "component", "octets"}  ->  {}
{"do": "hear", "name"}  ->  {"component", "octets", "at": [host, port]}, or {} after two seconds
{"do": "alive", "name"}  ->  {"alive": has it consent to send?}
"""
import asyncio
import json
import sys

import aioice
import aioice.ice

# Six checks without an answer end a connection: that shall not take half a minute.
aioice.ice.CONSENT_INTERVAL = 0.3
agents = {}
came_to = {}
hear_datagram = aioice.ice.StunProtocol.datagram_received


def note_where(protocol, data, address):
    if data[0] > 3:
        came_to[bytes(data)] = protocol.transport.get_extra_info("sockname")
    hear_datagram(protocol, data, address)


aioice.ice.StunProtocol.datagram_received = note_where


async def open_agent(order):
    aioice.ice.get_host_addresses = lambda **_: order["hosts"]
    agent = aioice.Connection(ice_controlling=True, components=order["components"])
    agents[order["name"]] = agent
    await agent.gather_candidates()
    candidates = [candidate.to_sdp() for candidate in agent.local_candidates]
    return {"fragment": agent.local_username, "password": agent.local_password, "candidates": candidates}


async def check(order):
    agent = agents[order["name"]]
    agent.remote_username, agent.remote_password = order["fragment"], order["password"]
    agent.remote_is_lite = order["lite"]
    for candidate in order["candidates"]:
        await agent.add_remote_candidate(aioice.Candidate.from_sdp(candidate))
    await agent.add_remote_candidate(None)
    try:
        await asyncio.wait_for(agent.connect(), 10)
    except (ConnectionError, asyncio.TimeoutError):
        return {"nominated": None}
    return {"nominated": {number: pair.local_addr for number, pair in agent._nominated.items()}}


async def send(order):
    await agents[order["name"]].sendto(bytes.fromhex(order["octets"]), order["component"])
    return {}


async def hear(order):
    try:
        octets, component = await asyncio.wait_for(agents[order["name"]].recvfrom(), 2)
    except (ConnectionError, asyncio.TimeoutError):
        return {}
    return {"component": component, "octets": octets.hex(), "at": came_to.pop(octets)}


async def alive(order):
    task = agents[order["name"]]._query_consent_task
    return {"alive": task is not None and not task.done()}


async def main():
    verbs = {"open": open_agent, "check": check, "send": send, "hear": hear, "alive": alive}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        print(json.dumps(await verbs[order["do"]](order)), flush=True)


asyncio.run(main())
