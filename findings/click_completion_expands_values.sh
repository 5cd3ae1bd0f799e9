#!/usr/bin/env bash
# click 8.5.1: its completion in bash expands the * in a value into names of files, and inserts a space as it is.
#
# The script of click does COMPREPLY+=($value) without quotation marks, and puts no backslash before what the shell would
# interpret: "a b" becomes two words of the command line. Names of tensors may have spaces and asterisks, so tui-params
# has scripts of its own (cli/shells.py), which insert a name as it must be typed.
#
# Seen: <a b> <one.txt> <two.txt>
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet click==8.5.1
mkdir "$folder/here"
touch "$folder/here/one.txt" "$folder/here/two.txt"
cat > "$folder/venv/bin/names" <<PYTHON
#!$folder/venv/bin/python
import click

@click.command()
@click.argument("name", shell_complete=lambda context, parameter, start: ["a b", "*.txt"])
def names(name):
    pass

names(prog_name="names")
PYTHON
chmod +x "$folder/venv/bin/names"
cd "$folder/here"
PATH="$folder/venv/bin:$PATH"
compopt() { :; }
eval "$(_NAMES_COMPLETE=bash_source names)"
COMP_WORDS=(names "") COMP_CWORD=1 COMPREPLY=()
_names_completion names
seen=$(printf '<%s> ' "${COMPREPLY[@]}")
echo "$seen"
[[ $seen == "<a b> <one.txt> <two.txt> " ]] || { echo "changed: names are inserted whole"; exit 1; }
