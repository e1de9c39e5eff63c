"""`precis setup`."""

from precis.layout import Layout
from precis.screen import Screen
from precis.setup import config
from precis.setup.settings import PlaceSettings, StackSettings, load


def configured(layout: Layout, screen: Screen) -> None:
    """Completes config.toml, saying so where that is news."""
    had_one = layout.config.exists()
    added = config.fill(layout, load(PlaceSettings, layout).postgres_url)
    if added and had_one:
        screen.note(f"{layout.shown(layout.config)}: set {', '.join(added)}")
    elif added:
        screen.note(f"wrote {layout.shown(layout.config)} with fresh secrets and free ports")


def run(layout: Layout, screen: Screen) -> int:
    configured(layout, screen)
    layout.data.mkdir(exist_ok=True, parents=True)
    config.derive(layout, load(StackSettings, layout))
    for path in (layout.config, layout.dotenv, layout.postgrest_conf):
        screen.done(layout.shown(path))
    return 0
