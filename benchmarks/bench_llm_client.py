"""The LLM client against a server that fails now and then: throughput, and what is lost or paid twice.

    python benchmarks/bench_llm_client.py [--requests 500] [--in-flight 32] [--latency 0.2] [--faults 0.1]

The server (tests/synth/scripted_server.py, in a process of its own) serves `--in-flight` requests at once, each of them
in `--latency` seconds, so its own limit is in_flight / latency replies a second. One request in ten meets a fault first:
429 with and without Retry-After, 500, a reset connection, a cut-off body, in turns.

Four runs: openai's own client behind a semaphore, without faults (what the machine can do at the moment), and ours
without faults, with them, and with them and three SIGKILLs. For each: replies a second as a share of the
server's limit (faults are replies too), from the first request to the last answer, start of Python and import left out;
CPU seconds of the client; prompts answered, answers delivered more than once, prompts billed more than once (the server
honours idempotency keys, as a gateway would; without one, what was in flight at a kill is billed again).
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from synth.chat_request import ChatRequest  # noqa: E402
from synth.client import ChatClient  # noqa: E402
from synth.client_settings import ClientSettings  # noqa: E402
from tests.synth.scripted_server import Act, Asked, Good, Raw, Reset, ScriptedServer, Status  # noqa: E402

FAULTS: list[Act] = [
    Status(429),
    Status(500),
    Reset(),
    Raw(b'{"choices": [{"mess', length=300),
    Status(429, headers={"Retry-After": "0.3"}),
]


def script(share: float, seed: int = 9) -> Callable[[Asked], Act]:
    """Each prompt meets a fault at its first request with this chance."""
    meets: dict[str, Act | None] = {}
    chance = random.Random(seed)

    def act(asked: Asked) -> Act:
        if asked.prompt not in meets:
            meets[asked.prompt] = chance.choice(FAULTS) if chance.random() < share else None
            fault = meets[asked.prompt]
            if fault is not None:
                return fault
        return Good("a question about it", usage=(200, 20))

    return act


def serve(pipe: Connection, share: float, latency: float, places: int) -> None:
    with ScriptedServer(script(share), latency, places) as server:
        pipe.send(server.url)
        pipe.recv()
        asked = len(server.asked)
        pipe.send((asked, dict(server.delivered), dict(server.billed)))


def ask(url: str, answers: str, requests: int, in_flight: int) -> None:
    """The child: asks, and prints each id as it gets its answer."""
    import openai  # noqa: F401 (not to be timed)

    settings = ClientSettings(base_url=url, model="m", key_variable=None, answers=Path(answers), in_flight=in_flight)
    client = ChatClient(settings)
    before = time.process_time()
    for answer in client.ask(ChatRequest.of(str(number), f"prompt {number}") for number in range(requests)):
        print(answer.id, answer.failure, flush=True)
    told = {"seconds": client.report.seconds, "cpu": time.process_time() - before, "sent": client.report.sent}
    print(json.dumps(told | {"faults": dict(client.report.faults)}), flush=True)


async def ask_plainly(url: str, requests: int, in_flight: int) -> None:
    """The same with openai's client alone."""
    import openai

    client = openai.AsyncOpenAI(
        api_key="none", base_url=url, http_client=openai.DefaultAsyncHttpxClient(trust_env=False), timeout=60
    )
    create = client.chat.completions.create  # imports what is not to be timed
    places = asyncio.Semaphore(in_flight)

    async def one(number: int) -> None:
        async with places:
            asked = [{"role": "user", "content": f"prompt {number}"}]
            answer = await create(model="m", messages=asked, max_tokens=512)
            print(number, "None" if answer.choices[0].message.content else "empty", flush=True)

    cpu, began = time.process_time(), time.monotonic()
    await asyncio.gather(*(one(number) for number in range(requests)))
    told = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu, "faults": {}}
    print(json.dumps(told), flush=True)


def measure(name: str, arguments: argparse.Namespace, share: float, kills: int, plain: bool = False) -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, share, arguments.latency, arguments.in_flight))
    server.start()
    url = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        child = [sys.executable, __file__, "--child", url, f"{folder}/answers.sqlite"]
        child += ["--requests", str(arguments.requests), "--in-flight", str(arguments.in_flight)]
        child += ["--plain"] if plain else []
        handed, told = run_to_the_end(child, kills, arguments.requests // (kills + 1))
    ours.send("end")
    asked, delivered, billed = ours.recv()
    server.join()
    limit = arguments.in_flight / arguments.latency
    print(f"\n{name}")
    print(f"  answered {len(handed):,} of {arguments.requests:,}; sent {asked:,}")
    print(
        f"  delivered more than once {sum(n > 1 for n in delivered.values())}, billed more than once {sum(n > 1 for n in billed.values())}"
    )
    if kills == 0:
        rate = asked / told["seconds"]
        print(
            f"  {told['seconds']:.2f} s, {rate:.0f} replies a second = {rate / limit:.1%} of the server's {limit:.0f}"
        )
        print(f"  CPU {told['cpu']:.2f} s, {1000 * told['cpu'] / asked:.1f} ms a request; faults {told['faults']}")


def run_to_the_end(child: list[str], kills: int, after: int) -> tuple[dict[str, str], dict]:
    """Runs the command until it ends by itself, killed so often on the way. Returns answers by id, and its report."""
    handed: dict[str, str] = {}
    while True:
        process = subprocess.Popen(child, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        fresh = 0
        for line in process.stdout:
            if line.startswith("{"):
                told = json.loads(line)
                continue
            id, failure = line.split()
            assert failure == "None", line
            fresh += id not in handed
            handed[id] = failure
            if kills and fresh == after:
                os.kill(process.pid, signal.SIGKILL)
                kills -= 1
                break
        code = process.wait()
        if code == 0:
            return handed, told
        if code != -signal.SIGKILL:
            raise SystemExit(f"the client ended with {code}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of the server for a reply")
    parser.add_argument("--faults", type=float, default=0.1, help="share of prompts that meet a fault first")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        asyncio.run(ask_plainly(arguments.child[0], arguments.requests, arguments.in_flight))
        return
    if arguments.child:
        ask(*arguments.child, arguments.requests, arguments.in_flight)
        return
    measure("openai's client, no faults", arguments, 0.0, 0, plain=True)
    measure("no faults", arguments, 0.0, 0)
    measure(f"{arguments.faults:.0%} faults", arguments, arguments.faults, 0)
    measure(f"{arguments.faults:.0%} faults, killed three times", arguments, arguments.faults, 3)


if __name__ == "__main__":
    main()
