"""The same workloads answered by llama.cpp's server, asked through RemoteSampler as any user would.

    python bench/sampling/run.py --llama-server PATH/llama-server --gguf F32.gguf Q4_1.gguf [--json FILE]
        [--llama-options=--no-repack]     whatever else the server should be told

The server is started here, on this machine alone, with all cores, temperature as its only sampler and one cache for
all slots; it says itself how many tokens it has drawn. `llama-quantize --allow-requantize IN.gguf OUT.gguf F32`
writes the float32 file that holds the same numbers as the weights our side computes with.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from theodolite.engine import RemoteSampler, Sampling
from theodolite.types import Example


@contextlib.contextmanager
def server(
    binary: Path, gguf: Path, slots: int, positions: int, endless: bool, options: Sequence[str] = ()
) -> Iterator[str]:
    """Its address. positions: room of one slot. endless: never draw an end-of-turn token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = str(os.cpu_count())
    command = [str(binary), "-m", str(gguf), "--host", "127.0.0.1", "--port", str(port), "-t", threads, "-tb", threads]
    command += ["-np", str(slots), "-c", str(slots * positions), "--kv-unified", "--samplers", "temperature"]
    command += ["--metrics", "--no-webui", *(["--ignore-eos"] if endless else []), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/health", timeout=1)
                break
            if process.poll() is not None:
                raise SystemExit(f"{binary} ended with {process.returncode}; try it by hand: {' '.join(command)}")
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait()


def drawn(url: str) -> int:
    """Tokens the server has drawn since it started, end-of-turn included."""
    lines = urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode().splitlines()
    return int(float(next(x for x in lines if x.startswith("llamacpp:tokens_predicted_total")).split()[-1]))


def answer(url: str, prompts: Sequence[Example], k: int, new: int, seed: int, slots: int) -> int:
    """Ask for `k` answers to every prompt; how many tokens the server drew for them."""
    before = drawn(url)
    remote = RemoteSampler(url, "llama.cpp", concurrency=slots, timeout=3600, logprobs=False)
    out = remote.sample(prompts, Sampling(k=k, max_new_tokens=new, seed=seed))
    short = [e.id for e in out if len(e.responses) != k]
    if short:
        raise SystemExit(f"llama.cpp gave fewer than {k} answers to {short}.")
    return drawn(url) - before
