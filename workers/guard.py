"""The guard at a worker's task queue: messages that would end a Celery worker, or be dropped by it, become dead letters.

A task of ours carries at most two short texts. Everything else is not ours: it is parked with its bytes and acknowledged,
and the worker lives on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from queue import Empty
from typing import Any

import structlog
from celery.exceptions import WorkerShutdown
from celery.worker.consumer import Consumer
from kombu.transport import TRANSPORT_ALIASES, pyamqp
from kombu.transport import redis as kombu_redis
from kombu.transport.virtual import Message as VirtualMessage
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from connector.channels import tolerant

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 16 * 1024
ARGUMENTS_MAX = 2
ARGUMENT_CHARACTERS_MAX = 200
_NO_MORE = {"callbacks", "errbacks", "chain", "chord"}
OURS = "oaerp."  # Celery registers tasks of its own in every app; nobody may call those.
# Every header Celery sends, and what ours hold. Others would become attributes of the running task.
_TEXT, _NONE = (str, type(None)), (type(None),)
_HEADERS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("lang", "task", "id", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin"), _TEXT),
    **dict.fromkeys(("shadow", "eta", "expires", "group", "group_index"), _NONE),
    **dict.fromkeys(("retries", "replaced_task_nesting"), (int,)),
    **dict.fromkeys(("ignore_result", "celery_beat_task"), (bool, type(None))),
    "timelimit": (list, tuple, type(None)),
    "stamped_headers": _NONE,
    "stamps": (dict,),
}
_OF_OTHERS = ("x-", "traceparent", "tracestate", "baggage")  # written by brokers and by tracing

# Called with the bytes of a message that is not ours and the reason; returns when it is safe in the ledger.
ParkRaw = Callable[[bytes, str], None]


def refusal(headers: Any, content_type: Any, content_encoding: Any, body: Any, known: Mapping[str, Any]) -> str | None:
    """Why a task message is not one of ours, or None where it is. Pure."""
    if not isinstance(headers, Mapping):
        return "its headers are not a mapping"
    if content_type != "application/json" or str(content_encoding).lower() not in ("utf-8", "utf8"):
        return f"its content is {content_type!r} in {content_encoding!r}, not JSON in UTF-8"
    if headers.get("compression") or headers.get("x-refused-compression"):
        return "it is compressed"
    if not isinstance(headers.get("id"), str) or not 0 < len(headers["id"]) <= 100:
        return "its id is not a short text"
    if not isinstance(headers.get("task"), str) or headers["task"] not in known or not headers["task"].startswith(OURS):
        return f"its task {headers.get('task')!r} is unknown"
    if headers.get("eta") is not None or headers.get("expires") is not None:
        return "it asks to wait or to expire; long waits are rows in the ledger"
    if headers.get("timelimit") not in (None, [None, None], (None, None)):
        return "it sets a time limit"
    for name, value in headers.items():
        if not str(name).startswith(_OF_OTHERS) and not isinstance(value, _HEADERS.get(name, ())):
            return f"its header {name!r} is none of ours"
    if headers.get("stamps"):
        return "it is stamped"
    if not isinstance(body, str | bytes) or len(body) > BODY_BYTES_MAX:
        return "its body is not text, or too long"
    return _refuse_body(body)


def _refuse_body(body: str | bytes) -> str | None:
    try:
        content = json.loads(body if isinstance(body, str) else body.decode())  # bytes would also pass in UTF-16
    except (ValueError, RecursionError):
        return "its body is not JSON"
    if not isinstance(content, list) or [type(part) for part in content] != [list, dict, dict]:
        return "its body is not [arguments, options, embedded]"
    arguments, options, embedded = content
    if options or len(arguments) > ARGUMENTS_MAX:
        return "it carries arguments that no task of ours takes"
    if any(not isinstance(given, str) or len(given) > ARGUMENT_CHARACTERS_MAX for given in arguments):
        return "its arguments are not short texts"
    if set(embedded) - _NO_MORE or any(embedded.values()):
        return "it embeds another task"
    return None


class SafeConsumer(Consumer):
    """Celery's consumer behind the guard. A message that cannot be parked is not acknowledged, and the worker ends: its
    supervisor starts another when the ledger is back."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's handler of a message, reached only by what is ours."""
        handle = super().create_task_handler(*args, **kwargs)
        broken: tuple[type[BaseException], ...] = (OSError, *_connection_errors(self))

        def guarded(message: Any) -> None:
            reason = refusal(
                message.headers, message.content_type, message.content_encoding, message.body, self.app.tasks
            )
            if reason is not None:
                self.park(message, reason)
                return
            try:
                handle(message)
            except broken:
                raise
            except Exception as error:  # noqa: BLE001 - the edge where one message must not end the worker
                self.park(message, f"taking it fails: {type(error).__name__}: {error}")

        return guarded

    def park(self, message: Any, reason: str) -> None:
        """Keeps the message in the ledger, then acknowledges it."""
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode("utf-8", "replace")
        described = json.dumps({"headers": message.headers, "content_type": message.content_type}, default=repr)
        self._park(described.encode() + b"\n" + body, reason)
        message.ack_log_error(log, _connection_errors(self))

    def _park(self, raw: bytes, reason: str) -> None:
        try:
            PARK_RAW["park"](raw, reason)
        except Exception as error:
            log.error("a message could not be parked; the worker ends without acknowledging it", error=str(error))
            raise WorkerShutdown(1) from error

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Celery would acknowledge and forget it."""
        self.park(message, f"it cannot be decoded: {exc}")

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Celery would reject it, for ever."""
        self.park(message, "it is no task message")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Celery would reject it."""
        self.park(message, f"its task is unknown: {exc}")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Celery would reject it."""
        self.park(message, f"it is not valid: {exc}")


def _connection_errors(consumer: Any) -> tuple[type[BaseException], ...]:
    errors: tuple[type[BaseException], ...] = consumer.connection_errors
    return errors


def _mark_compressed(headers: Any) -> None:
    # Kombu would unpack it while it builds the message, bombs included.
    if isinstance(headers, dict) and "compression" in headers:
        headers["x-refused-compression"] = headers.pop("compression")


class _AmqpChannel(tolerant.Channel):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.auto_decode = False

    def message_to_python(self, raw_message: Any) -> Any:
        _mark_compressed(raw_message.properties.get("application_headers"))
        return super().message_to_python(raw_message)


class _AmqpConnection(pyamqp.Connection):
    Channel = _AmqpChannel


class SafeAmqp(pyamqp.Transport):
    """Kombu's RabbitMQ transport, without decoding and unpacking what nobody has looked at."""

    Connection = _AmqpConnection


class SafeAmqpTls(pyamqp.SSLTransport):
    """The same over TLS."""

    Connection = _AmqpConnection


# Celery's stubs know little of kombu's inside.
_KombuRedisChannel: Any = kombu_redis.Channel


class _RedisMessage(VirtualMessage):
    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        _mark_compressed(payload.get("headers"))
        super().__init__(payload, channel=channel, **kwargs)


class _RedisChannel(_KombuRedisChannel):  # type: ignore[misc]
    Message = _RedisMessage
    _popped: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """A client that remembers what it popped last: whoever pops something unreadable must still be able to keep it."""
        client = super()._create_client(asynchronous=asynchronous)
        read = client.parse_response

        def parse_response(connection: Any, command_name: str, **options: Any) -> Any:
            answer = read(connection, command_name, **options)
            if command_name == "BRPOP":
                self._popped = answer
            return answer

        client.parse_response = parse_response
        return client

    def _brpop_read(self, **options: Any) -> Any:
        self._popped = None
        try:
            return super()._brpop_read(**options)
        except (Empty, OSError, RedisConnectionError, RedisTimeoutError, WorkerShutdown):
            raise  # not kombu's own list of connection errors: it counts KeyError among them
        except Exception as error:
            popped = self._popped
            park = PARK_RAW.get("park")
            if popped is None or park is None:
                raise
            try:
                park(bytes(popped[1]), f"it is no message: {type(error).__name__}: {error}")
            except Exception as away:
                log.error("a raw entry could not be parked; it goes back and the worker ends", error=str(away))
                with self.conn_or_acquire() as client:
                    client.lpush(bytes(popped[0]).decode().removeprefix(self.global_keyprefix), popped[1])
                raise WorkerShutdown(1) from away
            return True


class SafeRedis(kombu_redis.Transport):
    """Kombu's Redis transport, which survives raw entries on its lists and keeps them."""

    Channel = _RedisChannel


# The transport builds its channels itself, far from the app: what parks is left here for them.
PARK_RAW: dict[str, ParkRaw] = {}


def install(park_raw: ParkRaw) -> None:
    """Makes kombu in this process use the safe transports."""
    PARK_RAW["park"] = park_raw
    TRANSPORT_ALIASES["amqp"] = TRANSPORT_ALIASES["pyamqp"] = "workers.guard:SafeAmqp"
    TRANSPORT_ALIASES["amqps"] = "workers.guard:SafeAmqpTls"
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "workers.guard:SafeRedis"
