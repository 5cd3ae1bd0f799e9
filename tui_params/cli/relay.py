"""``tui-params relay``: the far end of ``attach ssh://host``, which ssh runs on that host."""

from __future__ import annotations

import os
import sys

import click

from tui_params import __version__
from tui_params.cli.exit_codes import FAILED, OK
from tui_params.cli.output import complain


@click.command(name="relay", short_help="What attach ssh://host runs on that host.")
def command() -> int:
    """Show the models that are served on this machine to a viewer on another, over stdin and stdout.

    It is run by `tui-params attach ssh://host`, through ssh, and by nobody else: no port is opened. It reads what the
    viewer asks for as attach does here, and ends when the viewer does.
    """
    from tui_params.live.relay.channel import Channel, ChannelError
    from tui_params.live.relay.host import RelayHost

    if sys.stdin.isatty():
        raise click.UsageError("relay talks to a viewer, not to a terminal: tui-params attach ssh://HOST runs it")
    reading, writing = os.dup(0), os.dup(1)
    # What a library prints must not come between the frames.
    os.dup2(2, 1)
    try:
        RelayHost(Channel(reading, writing), __version__).run()
    except ChannelError as error:
        complain(str(error))
        return FAILED
    return OK
