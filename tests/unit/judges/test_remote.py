"""The same judges behind a real HTTP server on this machine, which may refuse one request or all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from theodolite.judges import Comparison, build, compare_both, remote_means
from theodolite.judges.verdict import JudgingStopped

ITEMS = [Comparison.of(f"question {i}", f"right {i}", f"wrong {i}", id=str(i)) for i in range(4)]


@contextmanager
def serving(reply: Callable[[str], tuple[int, str]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, text = reply(body["messages"][-1]["content"])
            said = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(said if status == 200 else {"error": text}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def right_one(text: str) -> tuple[int, str]:
    return 200, f"Compared.\nVerdict: {'A' if text.index('right') < text.index('wrong') else 'B'}"


def judge(url: str) -> Any:
    return build("critique", remote_means(url, "m", concurrency=1, retries=0, timeout=5))


def test_a_server_judges() -> None:
    with serving(right_one) as url:
        both = compare_both(judge(url), ITEMS)
    assert [b.agreed for b in both] == ["A"] * 4


@pytest.mark.parametrize("bad", [0, 2])
def test_one_refused_request_is_missing_and_the_others_are_judged(bad: int) -> None:
    def reply(text: str) -> tuple[int, str]:
        return (400, "context length exceeded") if f"question {bad}\n" in text else right_one(text)

    with serving(reply) as url:
        found = judge(url).compare(ITEMS)
    assert [v.winner for v in found] == [None if i == bad else "A" for i in range(4)]
    assert found[bad].why.startswith("refused by the server")


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_server_that_refuses_everything_is_a_letter(status: int) -> None:
    with serving(lambda _: (status, "no")) as url, pytest.raises(JudgingStopped, match=f"HTTP {status}") as caught:
        judge(url).compare(ITEMS)
    assert caught.value.done == {}


def test_a_server_lost_midway_keeps_what_was_said() -> None:
    with (
        serving(lambda t: (500, "down") if "question 2\n" in t else right_one(t)) as url,
        pytest.raises(JudgingStopped) as caught,
    ):
        judge(url).compare(ITEMS)
    assert {i: v.winner for i, v in caught.value.done.items()} == {0: "A", 1: "A"}
