"""What an operator asks for."""

import pytest

from authsvc import commands
from tests.authsvc.fix_service import Service

pytestmark = pytest.mark.services


async def test_a_rotation_is_taken_up_by_the_running_service(service: Service) -> None:
    old = (await service.register()).json
    said = await commands.rotate_keys(service.settings)
    kid = said.split()[1]
    assert "90 s" in said
    service.query("update private.signing_key set created_at = now() - interval '1 h' where state = 'next'")
    service.query("notify pgrst, 'reload config'")
    await service.until("select true from private.signing_key where kid = %s and state = 'active'", kid)
    answer = await service.post("/auth/logout", {}, Authorization=f"Bearer {old['access_token']}")
    assert answer.status == 204  # the old key still verifies
    assert service.query("select detail from private.audit where event = 'signing_key_requested'") == [(kid,)]


async def test_a_block_is_lifted(service: Service) -> None:
    await service.register("ada@example.org")
    await service.log_in("ada@example.org", "wrong")
    service.query("update private.rate_bucket set tokens = 100 where get_byte(key, 0) = 1")
    assert (await service.log_in("ada@example.org")).code == "sign_in_blocked"
    assert await commands.unblock(service.settings, "Ada@example.org") == "ada@example.org may sign in again."
    assert (await service.log_in("ada@example.org")).status == 200
