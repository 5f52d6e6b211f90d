"""Runs Home Assistant, run by the Python that it is installed in: `instance.py FOLDER HTTP_PORT`.

Only what the tests need of it: its HTTP and WebSocket interface, and MQTT as soon as somebody sets that up. It says one
line of JSON with a token when it has started, and stops properly when it is told to (SIGTERM).
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys

from homeassistant import bootstrap, config_entries, core, loader  # type: ignore[import-not-found]
from homeassistant.auth import auth_manager_from_config  # type: ignore[import-not-found]
from homeassistant.setup import async_setup_component  # type: ignore[import-not-found]

ADMIN = "system-admin"


async def main(folder: str, http_port: int) -> None:
    hass = core.HomeAssistant(folder)
    hass.config.skip_pip = True
    loader.async_setup(hass)
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth_manager_from_config(hass, [], [])
    http = {"server_host": ["127.0.0.1"], "server_port": http_port}
    for name in ("homeassistant", "http", "api", "websocket_api", "config", "mqtt"):
        assert await async_setup_component(hass, name, {"http": http}), name
    user = await hass.auth.async_create_system_user("tests", group_ids=[ADMIN])
    token = hass.auth.async_create_access_token(await hass.auth.async_create_refresh_token(user))
    await hass.async_start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write(json.dumps({"token": token}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await hass.async_stop(force=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
