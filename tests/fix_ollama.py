"""A real Ollama that serves `tiny`, a model of a few hundred kilobytes that we write ourselves.

Whatever it is asked, `tiny` says `SENTENCE` and stops. `ollama` is shared by the tests of one test process;
the binary is found by $PRECIS_OLLAMA or in the per-user cache.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import pytest

from tests.fix_postgres import free_port

# No word may occur twice: each word's token leads to the next one.
SENTENCE = (
    "A tiny model wrote this summary without reading anything, because every weight of its single layer is"
    " zero and words simply follow one another until they end."
)
MODEL = "tiny:latest"
CONTEXT_TOKENS = 8192
DIMENSIONS = 64
LOGIT = 50.0
START_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.02
Then = Literal["stop", "repeat", "restart"]
UNKNOWN, BEGIN, END = 0, 1, 2
NORMAL_TYPE, UNKNOWN_TYPE, CONTROL_TYPE, BYTE_TYPE = 1, 2, 3, 6


def write_model(path: Path, *, words: Sequence[str] = tuple(SENTENCE.split()), then: Then = "stop") -> None:
    """A llama of one block whose attention and feed-forward weights are zero, so that the next token depends
    on the last one alone. After its words it stops, or says the last one for ever, or all of them."""
    specials = [("<unk>", UNKNOWN_TYPE), ("<s>", CONTROL_TYPE), ("</s>", CONTROL_TYPE)]
    octets = [(f"<0x{value:02X}>", BYTE_TYPE) for value in range(256)]
    tokens = [*specials, *octets, *((f"\u2581{word}", NORMAL_TYPE) for word in words)]
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, [token for token, _ in tokens], [kind for _, kind in tokens])
    for name, weights in _weights(len(tokens), len(words), then).items():
        writer.add_tensor(name, weights.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, tokens: list[str], kinds: list[int]) -> None:
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(DIMENSIONS)
    writer.add_block_count(1)
    writer.add_feed_forward_length(DIMENSIONS)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(DIMENSIONS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(UNKNOWN)


def _weights(size: int, count: int, then: Then) -> dict[str, np.ndarray[Any, Any]]:
    """Every token points along one of the dimensions: word k along k + 1, all others along 0, which leads to
    word 0."""
    embedding, output = np.zeros((size, DIMENSIONS)), np.zeros((size, DIMENSIONS))
    first_word = size - count
    embedding[:first_word, 0] = 1.0
    strength = LOGIT / np.sqrt(DIMENSIONS)  # what the norm makes of a one
    for word in range(count):
        embedding[first_word + word, word + 1] = 1.0
        output[first_word + word, word] = strength
    output[{"stop": END, "repeat": size - 1, "restart": first_word}[then], count] = strength
    square = np.zeros((DIMENSIONS, DIMENSIONS))
    block = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    return {
        "token_embd.weight": embedding,
        "output.weight": output,
        "output_norm.weight": np.ones(DIMENSIONS),
        "blk.0.attn_norm.weight": np.ones(DIMENSIONS),
        "blk.0.ffn_norm.weight": np.ones(DIMENSIONS),
        **{f"blk.0.{name}.weight": square for name in block},
    }


def binary() -> Path:
    """Where Ollama is. A test that needs it fails if it is missing and required, else it is left out."""
    if given := os.environ.get("PRECIS_OLLAMA"):
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "precis"
    found = [path for path in (cache / "bin/ollama", *sorted(cache.glob("ollama-*/ollama"))) if path.exists()]
    if found:
        return found[-1]
    message = f"no Ollama: set PRECIS_OLLAMA, or let .ci/run install it into {cache}"
    if os.environ.get("PRECIS_REQUIRE_ALL"):
        pytest.fail(message)
    pytest.skip(message)


@dataclass
class Ollama:
    """A server on a free port with models of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_MODELS": str(self.folder / "models"),
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), "serve"], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            late = self.process.poll() is not None or time.monotonic() > deadline
            assert not late, (self.folder / "log").read_text()
            time.sleep(LOOK_AGAIN_SECONDS)

    def stop(self) -> None:
        """Its runners end with it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(START_SECONDS)

    def post(self, path: str, body: Any) -> Any:
        """The last record of the answer."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=raw, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            lines = answer.read().splitlines()
        return json.loads(lines[-1]) if lines else None

    def create(self, name: str, **shape: Any) -> None:
        """A model written by write_model(**shape)."""
        file = self.folder / f"{name}.gguf"
        write_model(file, **shape)
        raw = file.read_bytes()
        digest = f"sha256:{sha256(raw).hexdigest()}"
        self.post(f"/api/blobs/{digest}", raw)
        template = "{{ .System }} {{ .Prompt }}"
        self.post("/api/create", {"model": name, "files": {file.name: digest}, "template": template})

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/version", timeout=2):
                return True
        except OSError:
            return False


@contextlib.contextmanager
def running_ollama() -> Iterator[Ollama]:
    folder = Path(tempfile.mkdtemp(prefix="precis-ollama-", dir="/tmp"))
    server = Ollama(folder, free_port())
    try:
        server.start()
        server.create("tiny")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")  # tests add models to theirs
def ollama() -> Iterator[Ollama]:
    with running_ollama() as server:
        yield server
