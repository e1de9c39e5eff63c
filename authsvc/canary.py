"""Proves, at start, after each change of keys and every minute, that PostgREST refuses what it must.

PostgREST takes a key set that it cannot parse for the text of an HMAC secret; then anybody who reads our
published keys can sign. Knows PostgREST's address and its error codes, and nothing of what it serves.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from uuid import uuid4

import aiohttp
import structlog
from jwt.utils import base64url_encode

from authsvc.keys.master import mac
from authsvc.keys.ring import KeySet
from authsvc.metrics import CANARY
from authsvc.tokens import Issuer, Subject, sign
from chassis.bearer import TOKEN_TYPE

Verdict: TypeAlias = Literal["taken", "refused", "unclear"]
Outcome: TypeAlias = Literal["proven", "failed", "unknown"]

ANSWER_SECONDS = 5.0
# A reload follows its notice within a fraction of a second; a listener that had to reconnect takes longer.
RELOAD_SECONDS = 15.0
BETWEEN_TRIES_SECONDS = 0.5
EVERY_SECONDS = 60.0
AGAIN_SECONDS = 30.0  # where it is not proven
UNDECODABLE = "PGRST301"
REFUSED_TOKEN_CODES = {UNDECODABLE, "PGRST302", "PGRST303"}
NO_KEYS = "PGRST300"
OUTCOMES: dict[Verdict, Outcome] = {"taken": "proven", "refused": "failed", "unclear": "unknown"}

log = structlog.get_logger()


def judge_forged(status: int, code: str) -> Verdict:
    """Only "cannot be decoded" refuses the signature: any later complaint means that it was believed."""
    if (status, code) == (401, UNDECODABLE) or code == NO_KEYS:
        return "refused"
    return "unclear" if status >= 500 else "taken"


def judge_genuine(status: int, code: str) -> Verdict:
    """Its session does not exist, so our own pre-request refuses it; that comes after the signature."""
    if code in REFUSED_TOKEN_CODES or code == NO_KEYS:
        return "refused"
    return "unclear" if status >= 500 else "taken"


def forge(claims: Mapping[str, Any], document: bytes) -> str:
    """What an attacker can make of the published key set. By hand: PyJWT will not use a JWKS as a secret."""
    header = {"alg": "HS256", "typ": TOKEN_TYPE}
    signed = b".".join(base64url_encode(json.dumps(part).encode()) for part in (header, claims))
    return b".".join((signed, base64url_encode(mac(document, signed)))).decode("ascii")


class Canary:
    """Watches one PostgREST. `outcome` is what is known of it."""

    def __init__(self, url: str, issuer: Issuer) -> None:
        self._url = url
        self._issuer = issuer
        self._keys_changed = asyncio.Event()
        self._tried_document = b""
        self._loaded: frozenset[str] = frozenset()
        self.outcome: Outcome = "unknown"
        CANARY.set(-1)

    def is_loaded(self, kid: str) -> bool:
        """Whether PostgREST has been seen to take this key's tokens."""
        return kid in self._loaded

    def keys_looked_at(self) -> None:
        """To be called when the key ring has looked."""
        if self._issuer.ring.current.document != self._tried_document:
            self._keys_changed.set()

    async def watch(self) -> None:
        """Prove, forever."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
            while True:
                self._keys_changed.clear()
                keys = self._issuer.ring.current
                self._tried_document = keys.document
                self._conclude(await self._prove(http, keys))
                is_complete = self.outcome == "proven" and len(self._loaded) == 1 + len(keys.coming)
                await self._wait(EVERY_SECONDS if is_complete else AGAIN_SECONDS)

    async def _prove(self, http: aiohttp.ClientSession, keys: KeySet) -> Outcome:
        """Try until the answer is clear, or until every reload must have happened."""
        deadline = time.monotonic() + RELOAD_SECONDS
        while True:
            forged = judge_forged(*await self._ask(http, forge(self._claims(), keys.document)))
            genuine = {
                key.kid: judge_genuine(*await self._ask(http, sign(self._claims(), key)))
                for key in (keys.active, *keys.coming)
            }
            self._loaded = frozenset(kid for kid, verdict in genuine.items() if verdict == "taken")
            if forged == "taken":
                return "failed"
            in_time = time.monotonic() < deadline
            if forged == "refused" and (len(self._loaded) == len(genuine) or not in_time):
                # A key that does not sign yet only waits until it is loaded.
                return OUTCOMES[genuine[keys.active.kid]]
            if not in_time:
                return "unknown"
            await asyncio.sleep(BETWEEN_TRIES_SECONDS)

    def _conclude(self, outcome: Outcome) -> None:
        known, self.outcome = self.outcome, outcome
        CANARY.set({"proven": 1, "failed": 0, "unknown": -1}[outcome])
        if outcome == "proven":
            log.log(
                logging.DEBUG if known == outcome else logging.INFO,
                "canary.proven",
                keys=sorted(self._loaded),
            )
        elif outcome == "failed":
            log.error("canary.failed", hint="PostgREST verifies with other keys: see gate.pre_config.")
        else:
            log.warning("canary.no_answer", hint="Is authsvc.postgrest_url right, and PostgREST up?")

    async def _wait(self, seconds: float) -> None:
        """Until the keys change, but no longer than this."""
        try:
            async with asyncio.timeout(seconds):
                await self._keys_changed.wait()
        except TimeoutError:
            return

    async def _ask(self, http: aiohttp.ClientSession, token: str) -> tuple[int, str]:
        """Status and error code of PostgREST's answer to this token; 503 without one."""
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with http.get(self._url, headers=headers, allow_redirects=False) as answer:
                body = await answer.json(content_type=None)
                return answer.status, str(body.get("code", "")) if isinstance(body, dict) else ""
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return 503, ""

    def _claims(self) -> dict[str, Any]:
        nobody = Subject(uuid4(), uuid4(), authenticated_at=0, amr=(), aal=1)
        return self._issuer.claims(nobody)
