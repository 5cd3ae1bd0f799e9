"""``tui-params demo``: a made-up checkpoint to try things on."""

from __future__ import annotations

import click

from tui_params.cli.exit_codes import OK


@click.command(name="demo", short_help="Open a checkpoint with faults to find.")
@click.option("--path", "only_path", is_flag=True, help="Print the folder of the checkpoint and open nothing.")
def command(only_path: bool) -> int:
    """Write a checkpoint with planted faults (95 MB, in the folder for temporary files) and open it."""
    from tui_params.cli.terminal import open_explorer
    from tui_params.demo import make_demo

    folder = make_demo()
    if only_path:
        click.echo(folder)
        return OK
    code = open_explorer(str(folder))
    if code is None:
        from tui_params.cli.ls import list_tensors

        list_tensors(str(folder), as_json=False)
        return OK
    return code
