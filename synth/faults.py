"""What went wrong with a request, and what follows: send it again, give it up, or end the whole run.

again   429; 408, 409, 5xx; no connection, a broken one, a time-out; a body that is cut off or no chat completion
fail    400, 413, 422: this prompt is refused (too long, the content filter, invalid)
stop    401, 402, 403, 404, no credit left: every other request would be refused as well
"""

import email.utils
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import openai

Kind = Literal["again", "fail", "stop"]

_TOO_LONG: Final = ("context length", "context_length", "maximum context", "context size", "too long", "max_model_len")
_FILTERED: Final = ("content_filter", "content management policy", "content_policy")
_NO_CREDIT: Final = ("insufficient_quota", "insufficient balance")
_STOPS: Final = {401: "key_refused", 402: "no_credit", 403: "key_refused", 404: "not_found"}
# Found anywhere in the names of the exceptions below an error: the request never reached the server.
_NOT_SENT: Final = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError")
# aiohttp's, which say more than what openai's transport makes of them (a broken connection becomes a ConnectTimeout there)
_BROKEN_LATER: Final = {"ServerDisconnectedError", "ClientOSError", "ClientConnectionResetError", "ClientPayloadError"}

_REPEATED_AT_ONCE: Final = ("connection_broken", "broken_body")


@dataclass(frozen=True, slots=True)
class Fault:
    """One exchange that brought no answer.

    `reason` is what is counted: a key of chat_request.FAILURES for `fail`, else a short name. `retry_after` is in
    seconds, where the server named a time. `hasty` marks refusals for haste (429). `perhaps_paid`: the server may have
    produced an answer that did not arrive.
    """

    kind: Kind
    reason: str
    detail: str
    retry_after: float | None = None
    hasty: bool = False
    perhaps_paid: bool = False
    schema_refused: bool = False  # status 400, 422 or 501: perhaps the server does not know response_format


def wait_before(attempt: int, fault: Fault, first: float, longest: float) -> float:
    """Seconds before attempt 2, 3, ...: doubled each time, half of it by chance; never less than the server asks for.

    Attempt 2 after a reply that broke off goes out at once: the server had taken the request, and gets no more of them
    than before. The chance is not seeded: processes that were refused together must not come back together.
    """
    if attempt == 2 and fault.reason in _REPEATED_AT_ONCE:
        return 0.0
    doubled = min(longest, first * 2.0 ** min(attempt - 2, 60))
    jittered: float = doubled * random.uniform(0.5, 1.0)  # noqa: S311
    return max(jittered, fault.retry_after or 0.0)


def status_fault(error: "openai.APIStatusError") -> Fault:
    """A reply with an error status."""
    return classify_status(error.status_code, _words_of(error), error.code, error.response.headers)


def classify_status(status: int, words: str, code: str | None, headers: Mapping[str, str]) -> Fault:
    """What follows from an error status; `words` and `code` are the server's."""
    detail = f"status {status}: {words}"
    said = f"{code or ''} {words}".lower()
    if status == 429 and any(sign in said for sign in _NO_CREDIT):
        return Fault("stop", "no_credit", detail)
    if status in _STOPS:
        return Fault("stop", _STOPS[status], detail)
    if status == 429:
        return Fault("again", "rate_limited", detail, retry_after_seconds(headers), hasty=True)
    if status in (408, 409) or (status >= 500 and status != 501):
        return Fault("again", f"status_{status}", detail, retry_after_seconds(headers), perhaps_paid=status == 504)
    return Fault("fail", _refusal(status, said), detail, schema_refused=status in (400, 422, 501))


def _refusal(status: int, said: str) -> str:
    if any(sign in said for sign in _FILTERED):
        return "content_filter"
    too_long = status == 413 or any(sign in said for sign in _TOO_LONG)
    return "prompt_too_long" if too_long else "bad_request"


def connection_fault(error: BaseException) -> Fault:
    """No connection, a broken one, or silence for too long."""
    names = _names_below(error)
    broken = not _BROKEN_LATER.isdisjoint(names)
    sent = broken or not any(sign in name for name in names for sign in _NOT_SENT)
    refused = any(name.startswith("ClientConnector") for name in names)
    timed_out = not (broken or refused) and any("Timeout" in name for name in names)
    reason = "timeout" if timed_out else "connection_broken" if sent else "no_connection"
    return Fault("again", reason, f"{names[-1]}: {_deepest(error)}", perhaps_paid=sent)


def broken_body(what: str) -> Fault:
    """A reply of status 200 that is no chat completion: paid for, but of no use."""
    return Fault("again", "broken_body", what, perhaps_paid=True)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """What the server asks for in retry-after-ms or Retry-After (RFC 9110: seconds or a date); None: nothing readable."""
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        asked = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _words_of(error: "openai.APIStatusError") -> str:
    body: Any = error.body
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return error.message


def _names_below(error: BaseException) -> list[str]:
    names: list[str] = []
    below: BaseException | None = error
    while below is not None and len(names) < 8:
        names.append(type(below).__name__)
        below = below.__cause__ or below.__context__
    return names


def _deepest(error: BaseException) -> BaseException:
    below = error
    for _ in range(8):
        below = below.__cause__ or below.__context__ or below
    return below
