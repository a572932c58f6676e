# SPDX-License-Identifier: Apache-2.0
"""The entry point: makes click commands of the registry.

Exit status: 0, every check held; 1, one did not, or an error; 2, wrong arguments.
"""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

import lsmkv
from lsmkv.cli import render
from lsmkv.cli.commands import COMMANDS, Command, CommandError


class _Group(click.Group):
    """Ends with the engine's message, not a traceback, where it raises an error."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (lsmkv.Error, CommandError, OSError) as error:
            raise click.ClickException(str(error)) from error


def _to_click(command: Command) -> click.Command:
    def callback(*, as_json: bool, **arguments: Any) -> None:
        context = click.get_current_context()
        if context.invoked_subcommand is not None:
            _refuse_options(context)
            return
        result = command.run(render.progress(silent=as_json), **arguments)
        if as_json:
            render.show_json(result)
        else:
            command.show(result, render.console())
        if not result.ok:
            raise click.exceptions.Exit(1)

    as_json = click.Option(
        ["--json", "as_json"], is_flag=True, help="Print the facts as JSON."
    )
    if not command.inside:
        return click.Command(
            command.name,
            callback=callback,
            params=[*command.parameters, as_json],
            help=command.help,
        )
    return click.Group(
        command.name,
        callback=callback,
        params=[*command.parameters, as_json],
        help=command.help,
        invoke_without_command=True,
        commands=[_to_click(inner) for inner in command.inside],
    )


def _refuse_options(context: click.Context) -> None:
    """Options stand behind the name of the command that they are for."""
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"options of {context.invoked_subcommand} go behind its name"
            )


@click.group(cls=_Group)
@click.version_option(lsmkv.__version__, prog_name="lsmkv")
def main() -> None:
    """Look after lsmkv databases, and show what they do."""


for _command in COMMANDS:
    main.add_command(_to_click(_command))

if __name__ == "__main__":
    main(prog_name="lsmkv")
