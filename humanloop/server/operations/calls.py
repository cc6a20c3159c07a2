"""The argument of a handler, a Call, and its results.

A handler is a function of a Call and its database session: it takes validated plain data, returns
plain data, and raises RequestError. It knows nothing of HTTP and never commits.
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
_CHUNK = 500  # databases limit the number of values in one statement
SLICE = 250
"""The number of array items, or work of equal length, that one transaction writes: a few
milliseconds.
"""
MAX_DIGITS = 4300
"""The most digits of an integer: Python's own JSON module reads no longer ones."""
Sampling = Literal["uniform", "thompson"]


class _SystemRandom(random.SystemRandom):
    """The system's randomness, which has no state, so it can be pickled."""

    def __reduce__(self) -> Any:
        return type(self), ()


@dataclass(frozen=True)
class Settings:
    """The server's settings, decided by the operator.

    sampling: how experiments draw a config: evenly, or by Thompson sampling on each one's
        posterior Beta(1 + positives, 1 + negatives).
    randomness: the random source of experiments; give a seeded one for repeatable draws.
    max_body_bytes: the largest request body.
    max_body_values: the most values and keys, in objects and arrays, of a body.
    memory_bytes: approximately how much memory large requests may take together; the others wait.
    queue_seconds: how long they wait.
    head_seconds: the time limit for a request's head.
    body_seconds: how long to wait for the next part of a body, and for the reader of an answer to
        take the sent data.
    upload_seconds: the time limit for a whole body.
    idle_seconds: how long a connection may wait for its next request.
    max_connections: how many connections may be open at once; also at most half of the files that
        the process may open.
    guess_seconds: the delay of the answer to a wrong key, after many from the same address.
    keep_logs: the age at which a log is deleted; None keeps all logs.
    allowed_hosts: the names by which clients may address the server; None allows every name.
    key_place: the place of the server's key: a sentence that a 401 contains only for clients on
        this machine.
    providers: the providers of models, beside `mock`: names and `NAME=URL` as for `humanloop serve
        --provider`; or a mapping of names to adapters and base URLs.
    provider_limits: the time limits and retries of providers over the network.
    evaluators: the limits of one run of an evaluator.
    sandbox: "bwrap" runs evaluators in their own namespaces, by bubblewrap.
    evaluation_workers: how many testcases of evaluations are worked on at the same time; 0 leaves
        them to other servers on the same database.
    takeover_seconds: how long a server on the same database may be silent before others take over
        its work.
    database: the limits of the process on a PostgreSQL.

    Raises StartError for invalid `providers`.
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
    """An operation that usually only reads must write in this request."""


@dataclass(frozen=True)
class Call:
    """One validated request: path and query parameters by name, the body as plain data.

    repeated: the client has sent the same request before and got no answer.
    by_reference: a feedback body names its logs by their reference ids.
    only_reads: the session can't write; NeedsWriter asks for one that can.
    prepared: the result of the operation's preparation, made from the body.
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
        """Return a Call for work that no request asks for."""
        evaluating = Evaluating(NoEngine())
        return cls(
            session, account, Settings(), Anchors(), evaluating, {}, {}, None, repeated=repeated
        )

    @property
    def connection(self) -> Connection:
        """Return the session's connection, for statements that bypass its objects."""
        bind = self.session.bind
        assert isinstance(bind, Connection)
        return bind

    @property
    def tally(self) -> Tally:
        """Return the transaction's changes of the counts."""
        return tallies.of(self.session)


def each_in(body: Any, run: Callable[[dict[str, Any], Location], T]) -> list[T]:
    """Call a function with the body's object, or with each object in its array."""
    if isinstance(body, dict):
        return [run(cast("dict[str, Any]", body), ("body",))]
    requests = cast("list[dict[str, Any]]", body)
    return [run(request, ("body", index)) for index, request in enumerate(requests)]


def slices(values: Sequence[T], weights: Iterable[int]) -> list[Sequence[T]]:
    """Return the values in parts whose weight is SLICE at most, or that have one heavier value."""
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
    """A result that takes several transactions, so that others get their turn between them.

    check: finds every reason to refuse the request, by reading alone.
    steps: each writes a part. The next step is taken from the iterator after a step is done.
    answer: returns the answer after the steps, outside of any transaction.
    finish: makes all parts count.
    undo: removes the parts after a failure, each in its own transaction.
    slow: the check takes so long that it runs in separate threads.
    """

    check: Stage
    steps: Iterable[Stage]
    answer: Callable[[], Any]
    finish: Stage
    undo: Sequence[Stage] = ()
    slow: bool = False


@dataclass(frozen=True)
class Afterwards:
    """A result, and an action in this process after its transaction is committed."""

    result: Any
    act: Callable[[], object]


def plain(row: object, *columns: str, **others: Any) -> dict[str, Any]:
    """Return columns of a row, and other values, as plain data: times as text, no nulls."""
    values = {name: getattr(row, name) for name in columns} | others
    return {
        key: to_text(value) if isinstance(value, datetime) else value
        for key, value in values.items()
        if value is not None
    }


@dataclass(frozen=True)
class Listed:
    """A body that is an array, whose records are made in portions because they may be large."""

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

    sizes: each key with the size of its record, in characters. A portion has at most _PORTION
        characters, unless it has only one key.
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

    keys: the keys of all rows, in the order of the list. Skipping many of them is fast if an index
        has that order, since no row is read.
    describe: makes the records of some keys.
    first: the number of the first page, 0 or 1. A larger size than MAX_PAGE_SIZE is reduced to it.
    portion: how many records are made at once; few if they may be large.
    total: the number of all rows if it is known; otherwise they are counted.
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
    """Return one page as `paginate` does.

    portions: yields the records at an offset, up to a size.
    """
    page, size = int(call.query["page"]), int(call.query["size"])
    if page < first:
        raise invalid(("query", "page"), f"got page {page}, the first page is {first}", "minimum")
    if size < 1:
        raise invalid(("query", "size"), f"expected a size of at least 1, got {size}", "minimum")
    size = min(size, MAX_PAGE_SIZE)
    offset = (page - first) * size
    # Beyond the end there is nothing to read, and the offset may be too large for a database.
    return Page(portions(offset, size) if offset < total else (), page, size, total)


def load(call: Call, statement: Select[Any], table: Any, keys: Sequence[str]) -> list[Any]:
    """Return the rows of a table with the given ids, in the order of the ids."""
    owned = (table.organization_id == call.account.organization_id, table.id.in_(keys))
    of_key = {row.id: row for row in call.session.scalars(statement.where(*owned))}
    return [of_key[key] for key in keys]
