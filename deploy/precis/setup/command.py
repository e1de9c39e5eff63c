"""`precis setup`, and loading what it wrote."""

import os
from typing import TypeVar

from chassis import settings as chassis_settings
from precis.faults import BadConfiguration
from precis.layout import Layout
from precis.screen import Screen
from precis.setup import config
from precis.setup.settings import PlaceSettings, StackSettings

T = TypeVar("T")


def load(cls: type[T], layout: Layout) -> T:
    """Settings from this layout's config.toml, from the defaults alone if it is not there yet. Raises
    BadConfiguration."""
    environ = {**os.environ, "PRECIS_CONFIG": str(layout.config) if layout.config.exists() else os.devnull}
    try:
        return chassis_settings.load(cls, environ=environ)
    except chassis_settings.SettingsError as error:
        lines = tuple(error.faults)
        raise BadConfiguration(
            "bad_settings", f"{layout.config} has faults. Mend them.", lines=lines
        ) from error


def configured(layout: Layout, place: PlaceSettings, screen: Screen) -> None:
    """Completes config.toml, saying so where that is news."""
    had_one = layout.config.exists()
    added = config.fill(layout, place.postgres_url)
    if added and had_one:
        screen.note(f"{layout.shown(layout.config)}: set {', '.join(added)}")
    elif added:
        screen.note(f"wrote {layout.shown(layout.config)} with fresh secrets and free ports")


def run(layout: Layout, place: PlaceSettings, screen: Screen) -> int:
    configured(layout, place, screen)
    layout.data.mkdir(exist_ok=True, parents=True)
    config.derive(layout, load(StackSettings, layout))
    for path in (layout.config, layout.dotenv, layout.postgrest_conf):
        screen.done(layout.shown(path))
    return 0
