"""Messages that were seen to kill, loop or be dropped by a Celery worker, and events nobody should be able to forge."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from dataclasses import dataclass, field
from typing import Any

NOTHING: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
GOOD_BODY = json.dumps([["C01"], {}, NOTHING]).encode()


@dataclass(frozen=True, slots=True)
class Crafted:
    """A task message: its body, what its headers change, and what it claims to be."""

    name: str
    body: bytes = GOOD_BODY
    headers: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    content_type: str = "application/json"
    content_encoding: str = "utf-8"

    def all_headers(self) -> dict[str, Any]:
        """Those of a good message, changed."""
        good = {
            "lang": "py", "task": "oaerp.deliver", "id": f"id-{self.name}", "root_id": "r", "parent_id": None, "group": None,
            "eta": None, "expires": None, "retries": 0, "timelimit": [None, None], "argsrepr": "()", "kwargsrepr": "{}",
            "origin": "test", "ignore_result": True,
        }  # fmt: skip
        return {name: value for name, value in (good | self.headers).items() if name not in self.without}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


TASKS = [
    Crafted("1-not-json", b"not json"),
    Crafted("2-empty", b""),
    Crafted("3-bad-utf8", b"[[\xff\xfe]]"),
    Crafted("4-utf16", GOOD_BODY.decode().encode("utf-16")),
    Crafted("5-gbk-as-utf8", '[["公司"],{},{}]'.encode("gbk")),
    Crafted("7-pickle", pickle.dumps([["C01"], {}, NOTHING]), content_type="application/x-python-serialize", content_encoding="binary"),
    Crafted("7-yaml", b"[]", content_type="application/x-yaml"),
    Crafted("7-msgpack", b"\x93\x90\x80\x80", content_type="application/x-msgpack", content_encoding="binary"),
    Crafted("8-unknown-encoding", content_encoding="utf-99"),
    Crafted("9-unknown-compression", headers={"compression": "application/x-nothing"}),
    Crafted("10-corrupt-gzip", b"not gzip", headers={"compression": "application/x-gzip"}),
    Crafted("11-bomb", zlib.compress(b"0" * 50_000_000), headers={"compression": "application/x-gzip"}),
    Crafted("12-object", body({"a": 1})),
    Crafted("13-string", body("text")),
    Crafted("14-number", body(42)),
    Crafted("15-null", b"null"),
    Crafted("16-two-items", body([[], {}])),
    Crafted("17-args-no-list", body(["C01", {}, NOTHING])),
    Crafted("18-unknown-task", headers={"task": "os.system"}),
    Crafted("18-task-of-celery", headers={"task": "celery.chord_unlock"}),
    Crafted("header-retries", headers={"retries": {"a": 1}}),
    Crafted("header-root-id", headers={"root_id": [1]}),
    Crafted("header-stamps", headers={"stamps": {"a": ["b"]}, "stamped_headers": ["a"]}),
    Crafted("header-of-nobody", headers={"is_eager": True, "chord": {"task": "oaerp.tidy"}}),
    Crafted("19-no-id", without=("id",)),
    Crafted("20-id-object", headers={"id": {"a": "b"}}),
    Crafted("21-eta-garbage", headers={"eta": "soon"}),
    Crafted("22-eta-9999", headers={"eta": "9999-12-31T00:00:00+00:00"}),
    Crafted("23-timelimit-strings", headers={"timelimit": ["a", "b"]}),
    Crafted("24-callback", body([["C01"], {}, NOTHING | {"callbacks": [{"task": "oaerp.poll", "args": ["x"]}]}])),
    Crafted("24-chain", body([["C01"], {}, NOTHING | {"chain": [{"task": "oaerp.tidy"}]}])),
    Crafted("26-too-long", body([["x" * 262_145], {}, NOTHING])),
    Crafted("29-type-hook", body([[{"__type__": "decimal", "__value__": "1"}], {}, NOTHING])),
    Crafted("nested", b"[" * 5000 + b"]" * 5000),
    Crafted("kwargs", body([[], {"company": "C01"}, NOTHING])),
    Crafted("no-task", without=("task",)),
    Crafted("expires-garbage", headers={"expires": {"x": "y"}}),
]  # fmt: skip

EVENTS = [
    b"not json",
    b"",
    b"\xff\xfe{}",
    "{}".encode("utf-16"),
    b"[" * 5000,
    b"null",
    b'{"specversion":"1.0"}',
    b"x" * 262_145,
]

# Raw entries on the Redis list, past kombu: no envelope at all, or a broken one.
RAW_REDIS = [b"garbage", b"42", b'["list"]', b'{"no": "properties"}', b"\xff\xfe", b'{"body": "x", "properties": {"delivery_tag": "d1", "body_encoding": "base99"}, "headers": {}}']  # fmt: skip


def redis_envelope(message: Crafted, queue: str) -> bytes:
    """A task message as kombu puts it on a list."""
    return json.dumps(
        {
            "body": base64.b64encode(message.body).decode(),
            "content-encoding": message.content_encoding,
            "content-type": message.content_type,
            "headers": message.all_headers(),
            "properties": {
                "correlation_id": message.name,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": f"tag-{message.name}",
            },
        }
    ).encode()


# AMQP properties with a header of type time that lies beyond every calendar, which py-amqp cannot read.
UNREADABLE_PROPERTIES = b"\x20\x00" + (11).to_bytes(4, "big") + b"\x01kT" + b"\xff" * 8
