"""The program, as a process."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.authsvc.fix_service import (
    GOOD_PASSWORD,
    MASTER_KEY,
    PROGRAM,
    environment,
    read,
    serving,
    settings,
)
from tests.fix_postgres import Database


def run(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], env=environ, capture_output=True, text=True, timeout=60)


def test_wrong_settings_end_it_with_all_faults_and_without_secrets() -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "PRECIS_AUTHSVC_MASTER_KEY": "my-own-secret",
        "PRECIS_AUTHSVC_PUBLIC_URL": "http://auth.example.org",
        "PRECIS_AUTHSVC_DATABASE_URL": "postgresql://authsvc:pw@127.0.0.1/precis",
    }
    done = run(environ=environ)
    assert done.returncode == 78
    assert "authsvc.master_key" in done.stderr
    assert "authsvc.public_url" in done.stderr
    assert "my-own-secret" not in done.stderr + done.stdout


def test_check_prints_the_settings_and_no_secret(database: Database, tmp_path: Path) -> None:
    done = run("--check", environ=environment(settings(database, tmp_path), tmp_path))
    assert done.returncode == 0
    assert "authsvc.access_token_seconds = 600" in done.stdout
    assert MASTER_KEY not in done.stdout
    assert database.url("authsvc") not in done.stdout


@pytest.mark.services
def test_errands_say_what_they_did_or_why_they_could_not(database: Database, tmp_path: Path) -> None:
    environ = environment(settings(database, tmp_path), tmp_path)
    done = run("rotate-keys", environ=environ)
    assert (done.returncode, done.stdout.startswith("Key ")) == (0, True)
    done = run("unblock", "ada@example.org", environ=environ)
    assert (done.returncode, done.stdout) == (0, "ada@example.org may sign in again.\n")
    done = run("unblock", "nonsense", environ=environ)
    assert (done.returncode, done.stderr) == (1, "Give an e-mail address such as name@example.org.\n")
    done = run(
        "rotate-keys", environ=environ | {"PRECIS_AUTHSVC_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert run("dance", environ=environ).returncode == 2


@pytest.mark.services
async def test_no_secret_and_no_address_is_in_logs_or_metrics_after_a_day_of_work(
    database: Database, tmp_path: Path
) -> None:
    chosen = settings(database, tmp_path)
    email, wrong = "ada.lovelace@example.org", "not the password at all"
    secrets = [GOOD_PASSWORD, wrong, MASTER_KEY, "ada.lovelace", "planted-cookie", "planted-bearer"]
    with serving(chosen, tmp_path) as log:
        async with aiohttp.ClientSession(f"http://{chosen.listen}") as http:

            async def post(path: str, body: Any, **headers: str) -> Any:
                async with http.post(path, json=body, headers=headers) as response:
                    return await read(response)

            person = {"email": email, "password": GOOD_PASSWORD}
            tokens = (await post("/auth/register", person)).json
            secrets += [tokens["access_token"], tokens["refresh_token"]]
            await post("/auth/register", person)
            await post("/auth/login", person | {"password": wrong})
            await post("/auth/login", person | {"password": wrong + "\0"})
            await post("/auth/login", {"email": email + "\r\nX: y", "password": wrong})
            old = tokens["refresh_token"]
            for _ in range(2):
                tokens = (await post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})).json
                secrets += [tokens["access_token"], tokens["refresh_token"]]
            await post("/auth/refresh", {"refresh_token": old})
            await post("/auth/refresh", {}, Cookie="authsvc_rt=planted-cookie", Origin=chosen.public_url)
            await post("/auth/logout", {}, Authorization="Bearer planted-bearer")
            await post(f"/auth/{tokens['refresh_token']}", {})
            await post(f"/auth/login?token={tokens['refresh_token']}", {})
        async with aiohttp.request("GET", f"http://{chosen.admin_listen}/metrics") as response:
            metrics = await response.text()
    written = log.read_text()
    assert "refresh.reused" in written
    assert "precis_auth_logins_total" in metrics
    for secret in secrets:
        assert secret not in written, secret
        assert secret not in metrics, secret
    assert all(line.startswith('{"') for line in written.splitlines())
