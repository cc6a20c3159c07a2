"""What a handler gets: a Call.

A handler is a function of its Call and the database: it takes validated plain data, returns plain
data, and raises RequestError. It knows nothing of HTTP and never commits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import Connection, Select, func, select
from sqlalchemy.orm import Session

from humanloop.server.errors import Location, invalid
from humanloop.server.evaluation.engine import Limits, Sandbox
from humanloop.server.evaluation.engines import NoEngine
from humanloop.server.generation.egress import ProviderLimits
from humanloop.server.generation.registry import Given, Registry, settled
from humanloop.server.operations.anchors import Anchors
from humanloop.server.operations.evaluating import Evaluating
from humanloop.server.store import tallies
from humanloop.server.store.accounts import Account
from humanloop.server.store.settings import DatabaseSettings
from humanloop.server.store.tallies import Tally
from humanloop.server.store.times import to_text

T = TypeVar("T")
MAX_PAGE_SIZE = 100
_PORTION = 1024 * 1024
_CHUNK = 500  # databases limit how many values one statement has
SLICE = 250
"""How many of an array, or what takes as long, one transaction writes: some milliseconds."""
MAX_DIGITS = 4300
"""Of an integer: Python's own JSON module reads no longer one."""
Sampling = Literal["uniform", "thompson"]


class _SystemRandom(random.SystemRandom):
    """The system's randomness, which has no state to pickle."""

    def __reduce__(self) -> Any:
        return type(self), ()


@dataclass(frozen=True)
class Settings:
    """Hold what whoever starts the server decides.

    sampling: how experiments draw a config: evenly, or by Thompson sampling on the posterior
        Beta(1 + positives, 1 + negatives) of each.
    randomness: what experiments draw with; give a seeded one for repeatable draws.
    max_body_bytes: the largest request body.
    max_body_values: how many values and keys, in objects and arrays, a body may hold.
    memory_bytes: about how much memory large requests may take together; the others wait.
    queue_seconds: how long they wait.
    head_seconds: how long a request may take until its head is there.
    body_seconds: how long to wait for the next part of a body, and for the reader of an answer to
        take what was sent.
    upload_seconds: how long a whole body may take.
    idle_seconds: how long a connection may wait for its next request.
    max_connections: how many may be open at once; also at most half of the files that the process
        may open.
    guess_seconds: how long the answer to a wrong key waits, once many came from the same address.
    keep_logs: how old a log may become before it is deleted; None keeps them all.
    allowed_hosts: the names by which clients may address the server; None allows every name.
    key_place: where the server's key is: a sentence that a 401 tells to this machine alone.
    providers: what serves the models, beside `mock`: names and `NAME=URL` as for `humanloop serve
        --provider`; or a mapping of names to adapters and base URLs.
    provider_limits: how long an answer of one over the network may take, and what is tried again.
    evaluators: what one run of an evaluator may take.
    sandbox: "bwrap" runs evaluators in namespaces of their own, by bubblewrap.
    evaluation_workers: how many testcases of evaluations are worked on at the same time; 0 leaves
        them to other servers on the same database.
    takeover_seconds: how long a server on the same database may be silent before others go on with
        what it was working on.
    database: the limits of the process on a PostgreSQL.

    Raises StartError for `providers` that can't be.
    """

    sampling: Sampling = "uniform"
    randomness: random.Random = field(default_factory=_SystemRandom)
    max_body_bytes: int = 64 * 1024 * 1024
    max_body_values: int = 1_000_000
    memory_bytes: int = 512 * 1024 * 1024
    queue_seconds: float = 10
    head_seconds: float = 10
    body_seconds: float = 30
    upload_seconds: float = 300
    idle_seconds: int = 5
    max_connections: int = 1000
    guess_seconds: float = 2
    keep_logs: timedelta | None = None
    allowed_hosts: frozenset[str] | None = None
    key_place: str = ""
    providers: Given = ()
    provider_limits: ProviderLimits = field(default_factory=ProviderLimits)
    evaluators: Limits = field(default_factory=Limits)
    sandbox: Sandbox = "none"
    evaluation_workers: int = 4
    takeover_seconds: float = 30
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    registry: Registry = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "providers", settled(self.providers))
        registry = Registry.of(self.providers, self.provider_limits)
        object.__setattr__(self, "registry", registry)


class NeedsWriter(Exception):
    """An operation that usually only reads has to write this time."""


@dataclass(frozen=True)
class Call:
    """One request, validated: path and query parameters by name, the body as plain data.

    repeated: the client says that it sent the same request before, and knows of no answer.
    by_reference: the logs that a body of feedback names are named by their reference ids.
    only_reads: its session can't write; NeedsWriter asks for one that can.
    prepared: what the operation has worked out of the body before.
    """

    session: Session
    account: Account
    settings: Settings
    anchors: Anchors
    evaluating: Evaluating
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    repeated: bool = False
    only_reads: bool = False
    prepared: Any = None
    by_reference: bool = False

    @classmethod
    def without_request(cls, session: Session, account: Account, *, repeated: bool = False) -> Call:
        """Return one for what no request asks for."""
        evaluating = Evaluating(NoEngine())
        return cls(
            session, account, Settings(), Anchors(), evaluating, {}, {}, None, repeated=repeated
        )

    @property
    def connection(self) -> Connection:
        """Return the session's connection, for statements that leave its objects aside."""
        bind = self.session.bind
        assert isinstance(bind, Connection)
        return bind

    @property
    def tally(self) -> Tally:
        """Return what its transaction adds to the counts."""
        return tallies.of(self.session)


def each_in(body: Any, run: Callable[[dict[str, Any], Location], T]) -> list[T]:
    """Run something for the body's object, or for each in its array."""
    if isinstance(body, dict):
        return [run(cast("dict[str, Any]", body), ("body",))]
    requests = cast("list[dict[str, Any]]", body)
    return [run(request, ("body", index)) for index, request in enumerate(requests)]


def slices(values: Sequence[T], weights: Iterable[int]) -> list[Sequence[T]]:
    """Return the values in parts that weigh SLICE at most, or have one value that weighs more."""
    parts: list[Sequence[T]] = []
    start = weight = 0
    for index, each in enumerate(weights):
        if index > start and weight + each > SLICE:
            parts.append(values[start:index])
            start, weight = index, 0
        weight += each
    return [*parts, values[start:]]


def like_body(body: Any, answers: Sequence[Any]) -> Any:
    """Return the answers in the shape of the body: one for an object, an array for an array."""
    return answers[0] if isinstance(body, dict) else answers


Stage = Callable[[Call], object]


@dataclass(frozen=True)
class Stages:
    """A result that takes several transactions, between which others get their turn.

    check: finds, by reading alone, whatever is to be refused.
    steps: each writes a part. The next one is asked for once a step is done.
    answer: returns the answer, once the steps are done; it is made outside of any transaction.
    finish: lets all parts count.
    undo: takes back the parts after a failure, each in a transaction of its own.
    slow: the check takes so long that it has threads of its own.
    """

    check: Stage
    steps: Iterable[Stage]
    answer: Callable[[], Any]
    finish: Stage
    undo: Sequence[Stage] = ()
    slow: bool = False


@dataclass(frozen=True)
class Afterwards:
    """A result, and what is to be done in this process once its transaction is committed."""

    result: Any
    act: Callable[[], object]


def plain(row: object, *columns: str, **others: Any) -> dict[str, Any]:
    """Return columns of a row, and other values, as plain data: times as text, without nulls."""
    values = {name: getattr(row, name) for name in columns} | others
    return {
        key: to_text(value) if isinstance(value, datetime) else value
        for key, value in values.items()
        if value is not None
    }


@dataclass(frozen=True)
class Listed:
    """A body that is an array, whose records are made in portions, for they may be large."""

    portions: Iterable[list[dict[str, Any]]]

    def body(self, records: list[dict[str, Any]]) -> Any:
        """Return the body with these records."""
        return records


@dataclass(frozen=True)
class Page(Listed):
    """A PaginatedData body, whose records are made in portions."""

    page: int
    size: int
    total: int

    def body(self, records: list[dict[str, Any]]) -> Any:
        """Return the body with these records."""
        return {"records": records, "page": self.page, "size": self.size, "total": self.total}


def in_portions(sizes: Iterable[tuple[T, int]]) -> Iterator[list[T]]:
    """Yield keys in portions that fit into one statement.

    sizes: of what each key names, in characters; those of a portion are together _PORTION at most,
        unless it has but one key.
    """
    portion: list[T] = []
    filled = 0
    for key, size in sizes:
        if portion and (filled + size > _PORTION or len(portion) == _CHUNK):
            yield portion
            portion, filled = [], 0
        portion.append(key)
        filled += size
    if portion:
        yield portion


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return the values in parts that fit into one statement."""
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def paginate(
    call: Call,
    keys: Select[Any],
    describe: Callable[[list[Any]], list[dict[str, Any]]],
    *,
    first: int,
    portion: int = MAX_PAGE_SIZE,
    total: int | None = None,
) -> Page:
    """Return one page of a list.

    keys: the keys of all rows, in the order of the list. To go past many of them is fast where an
        index has them in that order, since no row is read.
    describe: makes the records of some keys.
    first: the number of the first page, 0 or 1. A size over MAX_PAGE_SIZE is taken as that.
    portion: how many records are made at once; few, where they may be large.
    total: how many there are, where that is kept; else they are counted.
    """
    if total is None:
        count = select(func.count()).select_from(keys.order_by(None).subquery())
        total = call.session.scalar(count) or 0

    def portions(offset: int, size: int) -> Iterator[list[dict[str, Any]]]:
        found = list(call.session.scalars(keys.offset(offset).limit(size)))
        return (describe(found[at : at + portion]) for at in range(0, len(found), portion))

    return paginate_by(call, portions, total, first=first)


def paginate_by(
    call: Call,
    portions: Callable[[int, int], Iterable[list[dict[str, Any]]]],
    total: int,
    *,
    first: int,
) -> Page:
    """Return one page as `paginate` does, of the records at an offset, up to a size."""
    page, size = int(call.query["page"]), int(call.query["size"])
    if page < first:
        raise invalid(("query", "page"), f"page {page} came, the first page is {first}", "minimum")
    if size < 1:
        raise invalid(("query", "size"), f"size {size} came, at least 1 was wanted", "minimum")
    size = min(size, MAX_PAGE_SIZE)
    offset = (page - first) * size
    # Beyond the end there is nothing to ask for, and the number may be too large for a database.
    return Page(portions(offset, size) if offset < total else (), page, size, total)


def load(call: Call, statement: Select[Any], table: Any, keys: Sequence[str]) -> list[Any]:
    """Return the rows of a table with some ids, in the order of the ids."""
    owned = (table.organization_id == call.account.organization_id, table.id.in_(keys))
    of_key = {row.id: row for row in call.session.scalars(statement.where(*owned))}
    return [of_key[key] for key in keys]
