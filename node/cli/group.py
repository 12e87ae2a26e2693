"""The command `kubrat`: imports a command's module only when it is used, so that help takes a tenth of a second."""

import errno
import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import click

from node.common.errors import EXIT_INTERRUPTED, EXIT_USAGE, NodeError
from node.common.wording import command_text

COMMANDS = {
    "init": "Make a node's folder: a key, and the rules of a network.",
    "keygen": "Make a key file.",
    "start": "Run one peer.",
    "status": "Show what a running peer does.",
    "export": "Save the agreed model as a safetensors file.",
    "testnet": "Run a whole network of peers on this machine.",
    "inject": "Disturb the peers of a running testnet, or look at them.",
    "simulate": "Run a scenario over virtual time, with any faults, and check it.",
    "reproduce": "Repeat comparisons, published or of scale: tables and plots.",
}
"""Name and line in the overview; the command itself is `command` in the module of that name."""

LAB_COMMANDS = frozenset({"testnet", "inject", "simulate", "reproduce"})
"""Those that try the node. Their modules are named here and nowhere else: no module of the node imports the lab."""


class LazyGroup(click.Group):
    """Knows its commands by name; what a command returns (an int) is the exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command's module; None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        room = "node.lab.cli" if cmd_name in LAB_COMMANDS else "node.cli"
        command = importlib.import_module(f"{room}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The overview, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The options before the command."""
        with _reporting():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> None:
        """Run the command, and exit with its code."""
        with _reporting():
            ctx.exit(super().invoke(ctx))


@contextmanager
def _reporting() -> Iterator[None]:
    """Every error in one form, on stderr, as an exit code."""
    try:
        yield
    except NodeError as error:
        raise _exit_with(error.message, error.fix, error.exit_code) from error
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        message, mend = "too many files are open at once", "raise the limit (ulimit -n 1024) and start again"
        raise _exit_with(message, mend, EXIT_USAGE) from error
    except KeyboardInterrupt as error:
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from error
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        fix = f"see {command_text(*context.command_path.split()[1:], '--help')}" if context is not None else None
        raise _exit_with(error.format_message(), fix, error.exit_code) from error


def _exit_with(message: str, fix: str | None, exit_code: int) -> click.exceptions.Exit:
    click.echo(f"error: {message}", err=True)
    if fix is not None:
        click.echo(f"fix: {fix}", err=True)
    return click.exceptions.Exit(exit_code)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kubrat", message="kubrat %(version)s")
def main() -> None:
    """Peers that do not trust each other train one model together, with no server."""
