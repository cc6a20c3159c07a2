"""Accounts: the organisation of a database, and one user for each API key.

A process accepts the keys that it was given: several processes on one database must be given the
same ones. No key is stored: the database holds a salted, slow digest to recognise its user again,
and memory holds a fast digest, with which requests are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from humanloop.server.errors import StartError, Unauthorized
from humanloop.server.store import turns
from humanloop.server.store.database import Database
from humanloop.server.store.tables import Environment, Metric, Organization, User

DEFAULT_ENVIRONMENT = "production"
_ROUNDS = 100_000


@dataclass(frozen=True)
class Account:
    """The user for whom a request runs."""

    user_id: str
    organization_id: str


class KeyRing:
    """The valid keys of a running server."""

    def __init__(self, accounts: Mapping[bytes, Account]) -> None:
        self._accounts = dict(accounts)
        self.organization_id = next(iter(self._accounts.values())).organization_id

    @classmethod
    def enroll(cls, database: Database, api_keys: Sequence[str]) -> KeyRing:
        """Recognise or add the user of each key; add the organisation at the first start."""
        for key in api_keys:
            if not key or not key.isascii() or not key.isprintable() or " " in key:
                raise StartError("An API key is made of visible ASCII characters, without spaces.")
        if not api_keys:
            raise StartError("The server needs at least one API key.")

        def enroll(session: Session) -> KeyRing:
            turns.be_alone(session)
            organization = session.scalar(select(Organization)) or _found(session)
            return cls({_fast(key): _account(session, organization, key) for key in api_keys})

        return database.write(enroll)

    def account(self, key: str | None) -> Account:
        """Return the account of a key; raises Unauthorized if it is missing or unknown."""
        if key is None:
            raise Unauthorized("The header X-API-KEY is missing.")
        given = _fast(key)
        found: Account | None = None
        for known, account in self._accounts.items():
            # No early exit: the time must not reveal which key is similar.
            if hmac.compare_digest(known, given):
                found = account
        if found is None:
            raise Unauthorized("The API key in the header X-API-KEY is not valid here.")
        return found


def stand_in(session: Session) -> Account:
    """Return the account of the first user, for work that comes without a key.

    In a new database, the first user has no key.
    """
    turns.be_alone(session)
    organization = session.scalar(select(Organization)) or _found(session)
    users = select(User).where(User.organization_id == organization.id)
    user = session.scalar(users.order_by(User.created_at, User.id).limit(1))
    if user is None:
        # No key has this digest.
        user = User(
            organization_id=organization.id,
            key_digest=secrets.token_hex(32),
            email_address="user1@localhost",
        )
        session.add(user)
        session.flush()
    return Account(user.id, user.organization_id)


def _fast(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _slow(key: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", key.encode(), bytes.fromhex(salt), _ROUNDS).hex()


def _account(session: Session, organization: Organization, key: str) -> Account:
    digest = _slow(key, organization.key_salt)
    users = select(User).where(User.organization_id == organization.id)
    user = session.scalar(users.where(User.key_digest == digest))
    if user is None:
        number = (session.scalar(select(func.count()).select_from(users.subquery())) or 0) + 1
        user = User(
            organization_id=organization.id,
            key_digest=digest,
            email_address=f"user{number}@localhost",
        )
        session.add(user)
        session.flush()
    return Account(user.id, organization.id)


def _found(session: Session) -> Organization:
    organization = Organization(
        name="My organisation",
        key_salt=secrets.token_hex(16),
    )
    session.add(organization)
    session.flush()
    session.add_all(
        [
            Environment(
                organization_id=organization.id,
                name=DEFAULT_ENVIRONMENT,
                tag="default",
            ),
            Metric(
                organization_id=organization.id,
                name="Positive feedback",
                description="The share of datapoints with feedback that got a positive label.",
                code="positives / trials_count",
            ),
        ]
    )
    session.flush()
    return organization
