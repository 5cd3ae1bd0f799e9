"""Completion in bash, zsh and fish, by click's own machinery.

The scripts are ours, because click's expand ``*`` in the names of tensors and put no backslash before a space (bash),
cut names at commas (fish), and go on with a space after a part of a name (bash, zsh). Each line that they read is a
type, a value and a help text, with tabs between them; no value has a control character.
"""

from __future__ import annotations

import os
import re

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    shell_complete,
    split_arg_string,
)

from tui_params.cli.exit_codes import FAILED, OK, USAGE
from tui_params.cli.output import complain
from tui_params.core.text import clean

VARIABLE = "_TUI_PARAMS_COMPLETE"
"""The variable of the environment that asks for completion, as click names it for ``tui-params``."""

_BASH = """\
%(complete_func)s() {
    local kind value help files=
    COMPREPLY=()
    while IFS=$'\\t' read -r kind value help; do
        case $kind in
            file) files=1 ;;
            open) COMPREPLY+=("$value"); compopt -o nospace ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_PART="$2" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    if [[ $files && ${#COMPREPLY[@]} -eq 0 ]]; then
        compopt -o default
    elif [[ $files ]]; then
        compopt -o filenames
        while IFS= read -r value; do COMPREPLY+=("$value"); done < <(compgen -f -- "$2")
    fi
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a response parts plain opened described
    local line
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        %(complete_var)s=zsh_complete ${~words[1]} 2>/dev/null)}")
    for line in $response; do
        parts=("${(@ps:\\t:)line}")
        case $parts[1] in
            file) _files ;;
            open) opened+=("$parts[2]") ;;
            plain)
                if [[ -n $parts[3] ]]; then
                    described+=("${parts[2]//:/\\\\:}:$parts[3]")
                else
                    plain+=("$parts[2]")
                fi ;;
        esac
    done
    (( $#described )) && _describe -V command described -U
    (( $#plain )) && compadd -U -V names -a plain
    (( $#opened )) && compadd -U -S '' -V modules -a opened
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = """\
function %(complete_func)s
    set -l words (commandline -cp | string join ' ')
    set -l word (commandline -ct | string join ' ')
    set -l lines (env COMP_WORDS="$words" COMP_CWORD="$word" %(complete_var)s=fish_complete %(prog_name)s 2>/dev/null)
    for line in $lines
        set -l parts (string split -m 2 \\t -- $line)
        if test "$parts[1]" = file
            __fish_complete_path "$parts[2]"
        else
            printf '%%s\\t%%s\\n' "$parts[2]" "$parts[3]"
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""

_SPECIAL = re.compile(r"[^\w./%+,@:=^-]")


class _Lines(ShellComplete):
    """Writes the lines that the three scripts read."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        items = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("--"):
            # click completes the value alone, but the shells replace the whole word.
            for item in items:
                item.value = f"{option}={item.value}"
        return items

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type}\t{clean(item.value)}\t{clean(item.help or '', 200)}"


class Bash(_Lines, BashComplete):
    """bash, which takes the words to insert as they must be typed."""

    source_template = _BASH
    quote = ""
    """The quotation mark that is open around the word that is completed."""
    before = 0
    """Characters of that word that bash does not replace: it also ends words at ``:``, ``=`` and ``@``."""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = _split(line)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)  # FOO=1 tui-params ...
        incomplete = words.pop() if len(words) > 1 else ""
        self.quote = _open_quote(line)
        part = os.environ.get("COMP_PART", "")
        if not self.quote:
            part = _split(part)[-1]
        self.before = len(incomplete) - len(part) if incomplete.endswith(part) else 0
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        if item.type == "file":
            return super().format_completion(item)
        value = clean(item.value)[self.before :]
        if self.quote == "'":
            value = value.replace("'", "'\\''")
        elif self.quote:
            value = re.sub(r'([$`"\\])', r"\\\1", value)
        else:
            value = _SPECIAL.sub(lambda match: f"\\{match.group()}", value)
        return f"{item.type}\t{value}\t"


class Zsh(_Lines, ZshComplete):
    """zsh, which puts backslashes where they are needed."""

    source_template = _ZSH


class Fish(_Lines, FishComplete):
    """fish, which puts backslashes where they are needed, and no space after a dot or an equals sign."""

    source_template = _FISH


def _split(line: str) -> list[str]:
    """The words of a line; the last, which may be empty or only begun, is the one at the cursor."""
    words: list[str] = split_arg_string(f"{line}x")
    words[-1] = words[-1][:-1]
    return words


def _open_quote(line: str) -> str:
    """The quotation mark that is still open at the end of a line."""
    quote = ""
    letters = iter(line)
    for letter in letters:
        if letter == "\\" and quote != "'":
            next(letters, None)
        elif letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
    return quote


def complete(command: click.Command, instruction: str) -> int:
    """Print the script of a shell (``bash_source``), or what can be completed (``bash_complete``); the exit code.

    While a line is completed nothing but completions is printed, whatever happens.
    """
    for shell in (Bash, Zsh, Fish):
        add_completion_class(shell)
    shell_name, _, wish = instruction.partition("_")
    if shell_name not in ("bash", "zsh", "fish") or wish not in ("source", "complete"):
        complain(f"{VARIABLE} is {instruction!r}, but must be bash_source, zsh_source or fish_source")
        return USAGE
    try:
        code = shell_complete(command, {}, "tui-params", VARIABLE, instruction)
    except Exception:
        if wish == "source":
            raise
        return FAILED
    return FAILED if code else OK
