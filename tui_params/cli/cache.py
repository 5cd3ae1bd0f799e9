"""``tui-params cache``: where statistics, lists, compiled loops and parts of remote files are kept, and deleting it."""

from __future__ import annotations

import click

from tui_params.cli.exit_codes import FAILED, OK
from tui_params.cli.output import complain
from tui_params.core.text import clean, size


@click.command(name="cache", short_help="Show or clear what is kept between runs.")
@click.option("--clear", is_flag=True, help="Delete everything that is kept; it is computed again when needed.")
def command(clear: bool) -> int:
    """Print where statistics and lists of checkpoints, loops compiled for this processor and what was fetched from
    servers are kept, and how much that is.

    The environment variable TUI_PARAMS_CACHE names another folder or turns the cache off (0 or off).
    """
    from tui_params.cache.figures import FigureCache

    cache = FigureCache()
    usage = cache.clear() if clear else cache.usage()
    if cache.complaint is not None:
        complain(cache.complaint)
        return FAILED
    if cache.folder is None:
        click.echo("The cache is turned off by TUI_PARAMS_CACHE.")
        return OK
    files = f"{usage.files:,} {'file' if usage.files == 1 else 'files'}, {size(usage.nbytes)}"
    click.echo(f"{clean(str(cache.folder))}: {files}{' deleted' if clear else ''}")
    return OK
