"""OpenAI's files and batches on top of the scripted server: a batch is worked off the moment it is made.

A prompt's act is asked of the script as for a single request; a status goes into the error file, a Reset leaves the line
out, as when a batch expires.
"""

import json
from typing import Any
from urllib.parse import urlsplit

from tests.synth.scripted_server import Act, Asked, Good, Raw, Reset, ScriptedServer, Status, completion


class BatchServer(ScriptedServer):
    looks = 1  # how often a batch is looked at until it has ended
    fails = ""  # why batches do not pass validation

    def __init__(self, script: Any, upset: Any = lambda asked: None) -> None:
        super().__init__(script)
        self.upset = upset  # a fault for a call of the API itself
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.lines_of_a_batch: list[int] = []

    def _act(self, asked: Asked) -> Act:
        parts = urlsplit(asked.path).path.removeprefix("/v1/").split("/")
        fault = self.upset(asked)
        if parts[0] not in ("files", "batches"):
            return super()._act(asked)
        act = {"files": self._files, "batches": self._batches}[parts[0]](asked, parts)
        return fault or act

    def _files(self, asked: Asked, parts: list[str]) -> Act:
        if asked.method == "GET":
            return Raw(self.files[parts[1]])
        identity = self._keep(multipart_file(asked))
        return reply(
            {"id": identity, "object": "file", "bytes": 1, "created_at": 1, "filename": "f", "purpose": "batch"}
        )

    def _batches(self, asked: Asked, parts: list[str]) -> Act:
        if asked.method == "POST":
            batch = self._make(asked.body)
            self.batches[batch["id"]] = batch
            return reply(batch)
        if len(parts) == 1:
            return reply({"object": "list", "data": list(self.batches.values()), "has_more": False})
        batch = self.batches[parts[1]]
        batch["looks"] += 1
        if batch["looks"] >= self.looks:
            batch["status"] = "failed" if self.fails else "completed"
        return reply(batch)

    def _make(self, body: dict[str, Any]) -> dict[str, Any]:
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        self.lines_of_a_batch.append(len(lines))
        output, errors = [], []
        for line in [] if self.fails else lines:
            prompt = line["body"]["messages"][-1]["content"]
            times = 1 + sum(asked.prompt == prompt for asked in self.asked)
            asked = Asked("POST", line["url"], {}, line["body"], prompt, times, len(self.asked), b"")
            self.asked.append(asked)
            act = self.script(asked)
            if isinstance(act, Good):
                self.billed[prompt] += 1
                output.append(told(line["custom_id"], 200, completion(act)))
            elif isinstance(act, Status):
                errors.append(
                    told(line["custom_id"], act.status, {"error": {"message": act.message, "code": act.code}})
                )
            else:
                assert isinstance(act, Reset)
        return {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "created_at": 1,
            "completion_window": "24h",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "status": "in_progress",
            "metadata": body["metadata"],
            "output_file_id": self._keep(b"".join(reversed(output))) if output else None,
            "error_file_id": self._keep(b"".join(errors)) if errors else None,
            "errors": {"object": "list", "data": [{"code": "x", "message": self.fails}]} if self.fails else None,
            "looks": 0,
        }

    def _keep(self, content: bytes) -> str:
        identity = f"file_{len(self.files)}"
        self.files[identity] = content
        return identity


def told(key: str, status: int, body: dict[str, Any]) -> bytes:
    line = {
        "id": "r",
        "custom_id": key,
        "response": {"status_code": status, "request_id": "r", "body": body},
        "error": None,
    }
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def reply(body: dict[str, Any]) -> Raw:
    return Raw(json.dumps(body).encode())


def multipart_file(asked: Asked) -> bytes:
    boundary = b"--" + asked.headers["content-type"].partition("boundary=")[2].encode()
    for part in asked.raw.split(boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return content.removesuffix(b"\r\n")
    raise AssertionError("no file in the upload")
