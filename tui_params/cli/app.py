"""The ``tui-params`` command: which subcommand runs, and the exit codes of errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from tui_params import __version__
from tui_params.cli import streams
from tui_params.cli.exit_codes import BROKEN_PIPE, FAILED, FOUND, INTERRUPTED, OK, USAGE
from tui_params.cli.output import complain
from tui_params.cli.reader_option import Reader, chosen_reader, reader_option
from tui_params.cli.team_option import CommandLine
from tui_params.cli.terminal import open_explorer, open_timeline
from tui_params.errors import SliceError, StoppedError, TuiParamsError, UnknownTensorError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = (
    "ls",
    "stats",
    "values",
    "check",
    "diff",
    "timeline",
    "report",
    "attach",
    "watch",
    "relay",
    "cache",
    "demo",
)


def _are_sources(args: Sequence[str]) -> bool:
    """Whether these are sources to compare, and no command that was misspelt: the first one is there."""
    is_there = os.path.lexists(args[0]) or args[0].startswith("attach:") or "://" in args[0]
    return is_there and not any(word.startswith("-") for word in args)


class _App(click.Group):
    """Subcommands that are imported when they run; any other word is a SOURCE, and so are several that exist."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"tui_params.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            return name, command, args[1:]
        if len(args) > 1 and not _are_sources(args):
            from difflib import get_close_matches

            close = get_close_matches(name, COMMANDS, 1)
            hint = f" Did you mean {close[0]}?" if close else f" The commands are {', '.join(COMMANDS)}."
            raise click.UsageError(f"No command {name!r}.{hint}", ctx)
        if len(args) > 2:
            return name, _explore_run, ["--", *args]
        return name, _explore, ["--", *args]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands and the options; and files, because a SOURCE stands in the same place."""
        from click.shell_completion import CompletionItem

        items = super().shell_complete(ctx, incomplete)
        return items if incomplete.startswith("-") else [*items, CompletionItem(incomplete, type="file")]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the formats that can be opened, then the rest."""
        from tui_params.sources.detect import describe_formats

        with formatter.section("Formats"):
            formatter.write_dl(describe_formats())
        super().format_epilog(ctx, formatter)


@click.group(
    cls=_App,
    invoke_without_command=True,
    subcommand_metavar="[SOURCE | COMMAND ...]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  tui-params model.safetensors        walk through a checkpoint
  tui-params base/ tuned/             walk through what differs between two
  tui-params step-1 step-2 step-3     how each tensor moved
  tui-params ls checkpoint/ | less    list its tensors
  tui-params stats last.pt            statistics of every tensor
  tui-params demo                     a checkpoint with faults to find
  torchrun --nproc-per-node 4 -m tui_params check checkpoint/
                                      four processes, here or on many machines

\b
Completion of commands, paths, names of tensors and thresholds:
  bash  eval "$(_TUI_PARAMS_COMPLETE=bash_source tui-params)"   in ~/.bashrc
  zsh   eval "$(_TUI_PARAMS_COMPLETE=zsh_source tui-params)"    in ~/.zshrc
  fish  _TUI_PARAMS_COMPLETE=fish_source tui-params | source    in config.fish

\b
Exit codes:
  0 fine; 1 the answer is "no" (findings, differences); 2 wrong usage;
  3 could not be opened, read, compared or printed; 70 a fault of tui-params
  itself; 130 interrupted; 141 the pipe that it printed into was closed.

Write ./ls for a SOURCE that has the name of a command.""",
)
@click.version_option(__version__, "--version", message="tui-params %(version)s")
@reader_option
@click.pass_context
def app(ctx: click.Context, reader: Reader) -> int:
    """Look at the parameters in a checkpoint: a file or a folder.

    A SOURCE may be an address: hf://org/model, https://host/file, s3://bucket/run, ssh://host/path. Of what lies there
    only the parts that are looked at are fetched.

    With only a SOURCE, the explorer opens; without a terminal, the tensors are listed instead. With two, it shows what
    differs between them, as diff does without a terminal; with three or more, how each tensor moved, as timeline does.
    Files are only read, and no pickle code in them is run.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return OK


@click.command(name="SOURCE", add_help_option=False)
@click.argument("source")
@click.argument("other", required=False)
@click.pass_context
def _explore(ctx: click.Context, source: str, other: str | None) -> int:
    reader = chosen_reader(ctx)
    code = open_explorer(source, reader=reader, other=other)
    if code is None and other is not None:
        from tui_params.cli.diff import compare_sources

        return compare_sources(source, other, reader)
    if code is None:
        from tui_params.cli.ls import list_tensors

        list_tensors(source, as_json=False, reader=reader)
        return OK
    return code


@click.command(name="SOURCE", add_help_option=False)
@click.argument("sources", nargs=-1, required=True)
@click.pass_context
def _explore_run(ctx: click.Context, sources: tuple[str, ...]) -> int:
    reader = chosen_reader(ctx)
    if reader.is_logical:
        raise click.UsageError("A timeline shows packed weights as they are stored: leave out --logical.", ctx)
    code = open_timeline(sources, reader.format)
    if code is None:
        from tui_params.cli.timeline import print_timeline

        return print_timeline(sources, reader=reader.format)
    return code


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default the process's own) and return its exit code."""
    streams.prepare()
    line = CommandLine(tuple(sys.argv[1:] if arguments is None else arguments))
    code = _run(line)
    try:
        streams.flush_output()
    except OSError as error:
        # An answer that nobody got is none; what was wrong before keeps its code.
        lost = _lost(error)
        code = lost if code in (OK, FOUND) else code
    if line.is_of_ranks:
        complain(f"exit code {code} (that of torchrun is 0 or 1, whatever its ranks end with)")
    return code


def _run(line: CommandLine) -> int:
    """The exit code of the command; errors of our own become one line on stderr."""
    try:
        wish = os.environ.get("_TUI_PARAMS_COMPLETE")
        if wish:
            from tui_params.cli.shells import complete

            return complete(app, wish)
        code = app.main(list(line.arguments), prog_name="tui-params", standalone_mode=False, obj=line)
    except click.ClickException as error:
        with streams.losing_complaints():
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt, StoppedError):
        return INTERRUPTED
    except SystemExit:
        return BROKEN_PIPE  # click's answer to a closed pipe
    except (UnknownTensorError, SliceError) as error:
        complain(str(error))
        return USAGE
    except TuiParamsError as error:
        complain(str(error))
        return FAILED
    except OSError as error:
        streams.silence(sys.stdout)
        return _lost(error)
    return code if isinstance(code, int) else OK


def _lost(error: OSError) -> int:
    """Say why the output could not be printed, unless nobody reads it any more; the exit code of that."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    # Readers turn their own OSErrors into ReadError. Those of a stream name no file.
    where = "the output cannot be written" if error.filename is None else str(error.filename)
    complain(f"{where}: {streams.reason(error)}")
    return FAILED
