"""One encoder on every GPU of a machine, a process each, used like one `Encoder`.

In:  texts; the parent cuts them into chunks of whole windows and gives a chunk to whichever process is idle.
Out: what one Encoder would give, in the order of the texts: a window is encoded alike wherever it is encoded.

A process is sent a header (JSON) and Arrow IPC, and answers with headers and plain array bytes; nothing is pickled on the
way. One that dies ends the work with an error that names it; when the parent dies its processes end.
"""

import json
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.backbone import ModelFolderError, Role
from trainer.encoder import Encoder, EncoderSettings, M3Outputs, Output
from trainer.sparse_vectors import SparseVectors
from trainer.token_windows import EmbeddingError, sound_strings

if TYPE_CHECKING:
    import torch

CHUNKS_A_PROCESS: Final = 4  # so that processes end at about the same time
MOST_WINDOWS_A_CHUNK: Final = 8

_RAISED: Final[dict[str, type[ValueError]]] = {"EmbeddingError": EmbeddingError, "ModelFolderError": ModelFolderError}


class EncoderProcessError(ValueError):
    """An encoder process died or failed. The message names its device and the remedy."""


def open_encoder(settings: EncoderSettings) -> "Encoder | EncoderPool":
    """The encoder that settings ask for: a pool where device is "all" and there are several GPUs, else one in this process.

    Raises ModelFolderError where folder or device will not do.
    """
    import torch

    count = torch.cuda.device_count() if settings.device == "all" and torch.cuda.is_available() else 0
    return Encoder(settings) if count < 2 else EncoderPool(settings, [f"cuda:{number}" for number in range(count)])


@dataclass
class _Process:
    device: str
    connection: Connection
    process: Any  # multiprocessing's SpawnProcess
    chunk: int | None = None  # what it works on


class EncoderPool:
    """Encoders in processes of their own. Has what callers use of `Encoder`; close it, or use it in a `with` block."""

    def __init__(self, settings: EncoderSettings, devices: Sequence[str]) -> None:
        """Start a process for each device ("cuda:0" ...) and load the model in it.

        Raises ModelFolderError where folder or device will not do, EncoderProcessError where a process dies meanwhile.
        """
        self.settings = settings
        self.devices = tuple(devices)
        self._processes = [_start(settings, device, len(devices)) for device in devices]
        try:
            about, *_ = [self._answer(each) for each in self._processes]
        except ModelFolderError:
            self.close()
            raise
        self.dimension: int = about["dimension"]
        self.window: int = about["window"]
        self.outputs: frozenset[Output] = frozenset(about["outputs"])
        self._dtype: str = about["dtype"]
        self._prompts: dict[str, str] = about["prompts"]
        self._lengths: dict[str, int] = about["lengths"]
        self.truncated = 0
        self.tokens = 0
        self.encoded = 0
        self.on_batch: Callable[[int], None] = lambda encoded: None

    @property
    def dtype(self) -> "torch.dtype":
        """The computing type of all its encoders."""
        import torch

        dtype: torch.dtype = getattr(torch, self._dtype)
        return dtype

    def prompt(self, role: Role) -> str:
        """The text put before every text of `role`."""
        return self._prompts[role]

    def max_length(self, role: Role) -> int:
        """Tokens kept of a text of `role`, prompt and special tokens included."""
        return self._lengths[role]

    def encode(self, texts: pa.Array | Sequence[str], role: Role) -> npt.NDArray[np.float32]:
        """Embeddings float32 [n, D], as Encoder.encode gives them and with its errors; EncoderProcessError where a process dies."""
        dense = self.encode_all(texts, role, frozenset({"dense"})).dense
        assert dense is not None
        return dense

    def encode_all(self, texts: pa.Array | Sequence[str], role: Role, outputs: Collection[Output]) -> M3Outputs:
        """Several outputs, as Encoder.encode_all gives them."""
        if not self._processes:
            raise EncoderProcessError("These encoder processes have ended. Make a new EncoderPool.")
        arrow = _as_arrow(texts)
        try:
            done, failures = self._encode_chunks(arrow, role, outputs)
        except BaseException:  # chunks are under way whose answers nobody will read
            self.close()
            raise
        if failures:
            raise failures[0]
        return M3Outputs.concatenate([done[number] for number in range(len(done))])

    def _encode_chunks(
        self, texts: pa.Array, role: Role, outputs: Collection[Output]
    ) -> tuple[dict[int, M3Outputs], list[ValueError]]:
        """The outputs of each chunk by its number, or what was wrong with texts; then all processes are idle."""
        windows = -(-len(texts) // self.window)
        spread = -(-windows // (CHUNKS_A_PROCESS * len(self._processes)))
        size = self.window * min(MOST_WINDOWS_A_CHUNK, max(1, spread))
        starts = deque(enumerate(range(0, max(1, len(texts)), size)))
        done: dict[int, M3Outputs] = {}
        failures: list[ValueError] = []
        while True:
            for idle in (each for each in self._processes if each.chunk is None):
                if starts and not failures:
                    idle.chunk, start = starts.popleft()
                    request = {"role": role, "outputs": sorted(outputs), "first_row": start}
                    self._send(idle, request, texts[start : start + size])
            busy = {each.connection: each for each in self._processes if each.chunk is not None}
            if not busy:
                return done, failures
            for ready in wait(list(busy)):
                self._take(busy[ready], done, failures)  # type: ignore[index]  # wait gives back what it was given

    def _take(self, process: _Process, done: dict[int, M3Outputs], failures: list[ValueError]) -> None:
        """One message of a process: progress, a result or why there is none."""
        assert process.chunk is not None
        try:
            answer = self._answer(process)
        except (EmbeddingError, ModelFolderError) as error:
            failures.append(error)  # the others end their chunks, so that all are ready for the next call
            process.chunk = None
            return
        if answer["kind"] == "progress":
            self.encoded += answer["texts"]
            self.on_batch(self.encoded)
            return
        done[process.chunk] = _from_arrays({name: self._array(process, *about) for name, *about in answer["arrays"]})
        self.truncated += answer["truncated"]
        self.tokens += answer["tokens"]
        process.chunk = None

    def _send(self, process: _Process, request: Mapping[str, Any], texts: pa.Array) -> None:
        try:
            process.connection.send_bytes(json.dumps(request).encode())
            process.connection.send_bytes(_ipc(texts))
        except (BrokenPipeError, ConnectionResetError):
            raise self._died(process) from None

    def _answer(self, process: _Process) -> Any:
        """The next header a process sends. Raises the error that it tells of, EncoderProcessError where it is dead."""
        header = json.loads(self._bytes(process))
        if header["kind"] != "error":
            return header
        if header["error"] in _RAISED:
            raise _RAISED[header["error"]](header["message"])
        self.close()
        raise EncoderProcessError(f"The encoder process on {process.device} failed:\n{header['message']}")

    def _array(self, process: _Process, dtype: str, shape: list[int]) -> npt.NDArray[Any]:
        return np.frombuffer(self._bytes(process), dtype).reshape(shape)

    def _bytes(self, process: _Process) -> bytes:
        try:
            return process.connection.recv_bytes()
        except (EOFError, ConnectionResetError):
            raise self._died(process) from None

    def _died(self, process: _Process) -> EncoderProcessError:
        process.process.join(10)
        code = process.process.exitcode
        self.close()
        how = f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
        return EncoderProcessError(
            f"The encoder process on {process.device} {how} before its work was done. Where the system ended it (SIGKILL), "
            f"the machine has too little memory for a copy of {self.settings.model} for each device: give one device "
            f"instead of all."
        )

    def close(self) -> None:
        """End the processes; harmless to repeat."""
        for each in self._processes:
            each.connection.close()
            each.process.terminate()
        for each in self._processes:
            each.process.join()
        self._processes = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _start(settings: EncoderSettings, device: str, count: int) -> _Process:
    # spawn: a process that was forked could not use CUDA.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    own = settings.model_copy(update={"device": device}).model_dump_json()
    process = context.Process(target=_serve, args=(theirs, own, count), name=f"encoder {device}", daemon=True)
    process.start()
    theirs.close()  # so that the pipe ends with the process
    return _Process(device, ours, process)


def _serve(connection: Connection, settings_json: str, processes: int) -> None:
    """The life of an encoder process: load, then answer until the parent goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches all processes; the parent ends this one
    try:
        encoder = _load(connection, EncoderSettings.model_validate_json(settings_json), processes)
        while True:
            request = json.loads(connection.recv_bytes())
            texts = pa.ipc.open_stream(connection.recv_bytes()).read_all()["text"].combine_chunks()
            _serve_request(connection, encoder, request, texts)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent closed the pipe or is gone
    except Exception as error:
        known = type(error).__name__ in _RAISED
        message = str(error) if known else traceback.format_exc()
        _tell(connection, {"kind": "error", "error": type(error).__name__, "message": message})


def _load(connection: Connection, settings: EncoderSettings, processes: int) -> Encoder:
    import torch

    if settings.device == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    encoder = Encoder(settings)
    roles: tuple[Role, Role] = ("query", "passage")
    about = {
        "dimension": encoder.dimension,
        "window": encoder.window,
        "outputs": sorted(encoder.outputs),
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "prompts": {role: encoder.prompt(role) for role in roles},
        "lengths": {role: encoder.max_length(role) for role in roles},
    }
    _tell(connection, {"kind": "ready", **about})
    return encoder


def _serve_request(connection: Connection, encoder: Encoder, request: Mapping[str, Any], texts: pa.Array) -> None:
    before = (encoder.truncated, encoder.tokens)
    told = encoder.encoded

    def tell_progress(encoded: int) -> None:
        nonlocal told
        _tell(connection, {"kind": "progress", "texts": encoded - told})
        told = encoded

    encoder.on_batch = tell_progress
    try:
        outputs = encoder.encode_all(texts, request["role"], request["outputs"], first_row=request["first_row"])
    except (EmbeddingError, ModelFolderError) as error:
        _tell(connection, {"kind": "error", "error": type(error).__name__, "message": str(error)})
        return
    arrays = _as_arrays(outputs)
    header = {
        "kind": "result",
        "arrays": [(name, array.dtype.str, array.shape) for name, array in arrays.items()],
        "truncated": encoder.truncated - before[0],
        "tokens": encoder.tokens - before[1],
    }
    _tell(connection, header)
    for array in arrays.values():
        connection.send_bytes(array.tobytes())


def _tell(connection: Connection, header: Mapping[str, Any]) -> None:
    connection.send_bytes(json.dumps(header).encode())


def _as_arrays(outputs: M3Outputs) -> dict[str, npt.NDArray[Any]]:
    """The arrays of outputs by name, those that are there."""
    named: dict[str, npt.NDArray[Any] | None] = {
        "dense": outputs.dense,
        "token_vectors": outputs.token_vectors,
        "token_offsets": outputs.token_offsets,
    }
    if outputs.lexical is not None:
        named |= {name: getattr(outputs.lexical, name) for name in ("offsets", "token_ids", "weights")}
    return {name: array for name, array in named.items() if array is not None}


def _from_arrays(arrays: dict[str, npt.NDArray[Any]]) -> M3Outputs:
    lexical = None
    if "offsets" in arrays:
        lexical = SparseVectors(arrays["offsets"], arrays["token_ids"], arrays["weights"])
    return M3Outputs(arrays.get("dense"), lexical, arrays.get("token_vectors"), arrays.get("token_offsets"))


def _as_arrow(texts: pa.Array | Sequence[str]) -> pa.Array:
    if isinstance(texts, pa.ChunkedArray):
        return texts.combine_chunks()
    return texts if isinstance(texts, pa.Array) else pa.array(sound_strings(texts, 0), pa.large_string())


def _ipc(texts: pa.Array) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([texts], names=["text"])
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()
