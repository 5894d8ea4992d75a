"""A server that answers every question in the end, and misbehaves on the way there: in haste, broken, cut off, slow, and with
answers that are made (and billed) and never arrive.
"""

import random
from collections import Counter
from collections.abc import Callable

from tests.pipelines.synthesize_runs import good_question
from tests.synth.scripted_server import Act, Asked, Drip, Good, Raw, Reset, ScriptedServer, Status

FAULTS: tuple[Act, ...] = (
    Status(429),
    Status(429, headers={"Retry-After": "0.05"}),
    Status(500),
    Status(503),
    Reset(),
    Raw(b'{"choices": [{"mess', length=300),
    Raw(b"<html>bad gateway</html>"),
    Drip(),
)


class BilledThenCut(Good):
    """An answer that is made and billed, and whose connection is cut before it arrives."""


class BadServer(ScriptedServer):
    """With `honours_keys` a question that is sent again with its idempotency key is answered from what was made before."""

    def __init__(self, seed: int, *, honours_keys: bool = True, faults: float = 0.4, latency: float = 0.05) -> None:
        self.made: Counter[str] = Counter()  # good answers made, by prompt: what a server that knows no keys bills
        self.requests: Counter[str] = Counter()
        self._honours_keys = honours_keys
        super().__init__(self._counted(_script(seed, faults, honours_keys)), latency)

    def _counted(self, script: Callable[[Asked], Act]) -> Callable[[Asked], Act]:
        def act(asked: Asked) -> Act:
            done = script(asked)
            self.made[asked.prompt] += isinstance(done, Good)
            return done

        return act

    def _act(self, asked: Asked) -> Act:
        self.requests[asked.prompt] += 1
        if not self._honours_keys:
            asked.headers.pop("idempotency-key", None)
        key = asked.headers.get("idempotency-key", "")
        again = isinstance(self._by_key.get(key), BilledThenCut)
        act = super()._act(asked)
        if isinstance(act, BilledThenCut):
            return Good(act.text, act.finish_reason, act.usage) if again else Reset()
        return act

    @property
    def paid_twice(self) -> int:
        """Answers made beyond the first of each question: what the user paid for in vain."""
        return sum(count - 1 for count in self.made.values())


def _script(seed: int, faults: float, honours_keys: bool) -> Callable[[Asked], Act]:
    chance = random.Random(seed)

    def act(asked: Asked) -> Act:
        good = good_question(asked)
        if asked.times > 3 or chance.random() >= faults:
            return good
        if honours_keys and chance.random() < 0.2:
            return BilledThenCut(good.text, good.finish_reason, good.usage)
        return chance.choice(FAULTS)

    return act
