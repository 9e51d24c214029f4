"""Settings: one tree, from environment variables (OAERP_..., nested with __), an optional YAML file and these defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from connector.errors import Misconfigured
from connector.text_yaml import load_text_yaml


class Section(BaseModel):
    """A block of settings: frozen, and an unknown name in it is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Retry(Section):
    """Short retries happen inside one call (tenacity), long ones are rows in the ledger. A call that always fails is
    tried `call_attempts * ledger_attempts` times in all, then parked."""

    call_attempts: int = Field(default=3, ge=1, le=5, description="tries inside one claim, a moment apart")
    call_wait_s: float = Field(default=0.2, ge=0, le=2, description="first wait inside one claim; doubles, with jitter")
    call_total_s: float = Field(default=5.0, gt=0, le=20, description="no further try inside one claim after this")
    ledger_attempts: int = Field(default=8, ge=1, le=50, description="claims of one posting before it is parked")
    ledger_wait_s: float = Field(
        default=30, ge=0, description="wait after the first failed claim; doubles, with jitter"
    )
    ledger_wait_max_s: float = Field(default=6 * 3600, ge=0, description="longest wait between two claims")


class Delivery(Section):
    """How postings are claimed and sent."""

    batch: int = Field(default=50, ge=1, le=500, description="postings claimed at once")
    lease_s: int = Field(default=120, ge=1, le=3600, description="a claim not settled by then is in doubt")
    settle_s: float | None = Field(
        default=None, ge=0, description="wait before asking the ERP what became of a call; default: the adapter's"
    )
    in_doubt_asks: int = Field(default=8, ge=1, description="times the ERP is asked before a person is")
    tick_s: float = Field(default=5.0, gt=0, le=300, description="how often due postings are looked for")


class Waiting(Section):
    """How documents that waited for a key are let go once it arrives."""

    batch: int = Field(default=100, ge=1, le=5000, description="documents let go in one round, all keys together")
    every_s: float = Field(default=5.0, gt=0, le=3600, description="how often arrived keys are looked for")


class Outbox(Section):
    """How the relay moves events from the ledger to the broker."""

    batch: int = Field(default=500, ge=1, le=2000, description="events sent per confirm")
    idle_s: float = Field(default=0.2, gt=0, le=60, description="wait when there is nothing to send")
    resend_after_s: float = Field(
        default=30,
        gt=0,
        description="an event nobody recorded by then, and the queue lost, is sent again; doubles each time",
    )
    resend_after_max_s: float = Field(
        default=1800, gt=0, description="longest wait before an unrecorded event is sent again"
    )


class Consumer(Section):
    """The batch step."""

    batch: int = Field(default=500, ge=1, le=2000, description="events per transaction")
    wait_ms: int = Field(default=50, ge=1, le=5000, description="how long a batch waits to fill")
    delivery_limit: int = Field(
        default=8, ge=1, le=100, description="redeliveries before RabbitMQ hands a message to the dead letter exchange"
    )


class Security(Section):
    """Who may speak to us. Keys are `id:secret`, the first one signs, all verify (rotation)."""

    signing_keys: tuple[SecretStr, ...] = Field(default=(), description="keys of messages on the broker, `id:base64`")
    webhook_keys: tuple[SecretStr, ...] = Field(default=(), description="Standard Webhooks secrets, `whsec_...`")
    api_tokens: tuple[SecretStr, ...] = Field(
        default=(), description="bearer tokens of POST /v1/events; none: only loopback may post"
    )
    unsigned_sources: tuple[str, ...] = Field(
        default=(), description="event sources accepted unsigned while signing keys are set"
    )
    tolerance_s: int = Field(default=300, ge=1, description="age of a webhook signature")
    message_age_max_s: int = Field(
        default=14 * 24 * 3600, ge=60, description="age of a message signature on the broker"
    )


class Gateway(Section):
    """The HTTP door."""

    host: str = Field(default="127.0.0.1", description="address it listens on")
    port: int = Field(default=8080, ge=0, le=65535, description="port it listens on; 0: any free one")
    body_bytes_max: int = Field(default=4 * 1024 * 1024, ge=1024, description="largest request")
    batch_max: int = Field(default=1000, ge=1, le=10000, description="events in one request")
    requests_max: int = Field(default=64, ge=1, description="requests worked on at once; more are answered 503")


class Folder(Section):
    """A watched folder: `inbox` is read, results stand beside the archived input."""

    path: Path = Field(description="the folder; `inbox`, `processing`, `archive` and `rejected` are made in it")
    company: str = Field(pattern=r"^[A-Za-z0-9_-]{1,20}$", description="company its documents belong to")
    adapter: str = Field(
        default="folder",
        pattern=r"^[a-z0-9_-]{1,40}$",
        description="name in the source of its events, /oa/<adapter>/<company>",
    )
    quiet_s: float = Field(default=2.0, ge=0, description="a file must not have changed for this long")
    file_bytes_max: int = Field(default=32 * 1024 * 1024, ge=1024, description="largest file")


class System(Section):
    """An OA or ERP and the adapter that speaks to it; `options` are the adapter's own."""

    adapter: str = Field(description="which adapter speaks to it")
    company: str = Field(pattern=r"^[A-Za-z0-9_-]{1,20}$", description="company whose books or reports it holds")
    url: str | None = Field(default=None, description="where it is reached")
    user: str | None = Field(default=None, description="the connector's user there")
    password: SecretStr | None = Field(default=None, description="password or key of that user")
    poll_s: float = Field(default=30, gt=0, description="how often it is asked for changes")
    options: Mapping[str, str] = Field(default_factory=dict, description="the adapter's own settings")


class Settings(BaseSettings):
    """Everything a process needs to start."""

    model_config = SettingsConfigDict(
        env_prefix="OAERP_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,  # it may be a secret, and errors reach logs
    )

    home: Path = Field(default=Path("var"), description="where the embedded default keeps its files")
    ledger_url: str = Field(default="", description="SQLAlchemy URL; default: SQLite in `home`")
    broker_url: str = Field(default="memory://", description="memory://, amqp://... or redis://...")
    prefix: str = Field(
        default="oaerp", pattern=r"^[a-z0-9_.-]{1,60}$", description="start of every exchange, queue and key name"
    )
    book: Path | None = Field(default=None, description="mapping book; default: the starter book")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="least severity that is logged"
    )
    lang: Literal["en", "zh"] = Field(default="en", description="language of messages to people")
    retry: Retry = Retry()
    delivery: Delivery = Delivery()
    waiting: Waiting = Waiting()
    outbox: Outbox = Outbox()
    consumer: Consumer = Consumer()
    security: Security = Security()
    gateway: Gateway = Gateway()
    folders: tuple[Folder, ...] = Field(default=(), description="watched folders")
    oa: tuple[System, ...] = Field(default=(), description="the OA systems")
    erp: tuple[System, ...] = Field(default=(), description="the ERP systems, one for each company")
    record_owners: Mapping[str, Mapping[str, Literal["oa", "erp"]]] = Field(
        default={"employee": {"*": "oa", "bank_account": "erp", "supplier_code": "erp"}},
        description="which system owns a field of a master record; `*` is the rest",
    )

    @field_validator("ledger_url", "broker_url")
    @classmethod
    def _has_a_usable_port(cls, url: str) -> str:
        try:
            _ = urlsplit(url).port
        except ValueError:  # its own words would show what may be half of a password
            raise ValueError("expected a port number; a password with / ? # @ or : is written with %-codes") from None
        return url

    @property
    def ledger(self) -> str:
        """The ledger's URL, with the embedded default filled in."""
        return self.ledger_url or f"sqlite:///{(self.home / 'ledger.db').as_posix()}"

    @property
    def embedded(self) -> bool:
        """True where everything runs in one process."""
        return self.broker_url.startswith("memory:")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file (passed as init), the file over the defaults."""
        return (env_settings, init_settings)


def load(path: Path | None = None) -> Settings:
    """Settings from `path`, else from $OAERP_CONFIG, else ./oaerp.yaml where it exists, under the environment.
    Raises Misconfigured naming each wrong setting."""
    found = path or (Path(os.environ["OAERP_CONFIG"]) if "OAERP_CONFIG" in os.environ else None)
    if found is None and Path("oaerp.yaml").is_file():
        found = Path("oaerp.yaml")
    try:
        values = (load_text_yaml(found.read_text("utf-8")) or {}) if found else {}
        if not isinstance(values, dict):
            raise Misconfigured(f"{found}: expected a mapping of settings")
        return Settings(**values)
    except OSError as error:
        raise Misconfigured(f"cannot read the settings file {found}: {error.strerror}") from error
    except yaml.YAMLError as error:
        # Without the line itself, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise Misconfigured(f"{found} is not YAML{where}: {getattr(error, 'problem', None) or 'unreadable'}") from None
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{found} is not UTF-8 text") from error
    except SettingsError as error:
        raise Misconfigured(f"settings: {error}; a list or a section is given as JSON") from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False)
        )
        raise Misconfigured(f"settings: {wrong}") from error
