"""Arguments that several commands share, parsed once."""

import math
from collections.abc import Callable, Collection
from pathlib import Path

import click
from click.core import ParameterSource

from node.common.address import Address, parse_address
from node.common.errors import NodeError
from node.common.goal import MetricGoal, parse_goal

TASK_DEFAULT = "digits"
"""Its data ship with the package, so it runs anywhere, offline."""

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
PUZZLE_SHARE_DEFAULT = 0.3
"""Search is what pays; the puzzle needs no more than it takes to be elected now and then."""


def force_option(command: Callable[..., object]) -> Callable[..., object]:
    """Adds --force, for a command that writes a file where a person says."""
    return click.option("--force", "is_forced", is_flag=True, help="Overwrite a file that is there already.")(command)


def is_given(context: click.Context, name: str) -> bool:
    """Whether a person has said it, rather than a default."""
    return context.get_parameter_source(name) not in {ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP, None}


def refuse_given(context: click.Context, names: Collection[str], why: str) -> None:
    """Raises NodeError where one of these parameters was given: silence would let a person think that it counts."""
    for parameter in context.command.params:
        if parameter.name in names and is_given(context, parameter.name):
            raise NodeError(f"{parameter.opts[0]} is of no use {why}", f"leave {parameter.opts[0]} out")


class AddressType(click.ParamType[Address]):
    """HOST:PORT."""

    name = "HOST:PORT"

    def __init__(self, port_min: int) -> None:
        self._port_min = port_min

    def convert(self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Raises click.BadParameter."""
        if isinstance(value, Address):
            return value
        try:
            return parse_address(value, self._port_min)
        except NodeError as error:
            self.fail(f"{error.message}; {error.fix}" if error.fix else error.message, param, ctx)


class Metric(click.ParamType[MetricGoal]):
    """A figure to be reached."""

    name = "METRIC>=VALUE"

    def convert(self, value: str | MetricGoal, param: click.Parameter | None, ctx: click.Context | None) -> MetricGoal:
        """Raises click.BadParameter."""
        if isinstance(value, MetricGoal):
            return value
        try:
            return parse_goal(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NumberRange(click.FloatRange):
    """A number within two bounds; click's own range lets NaN pass."""

    def __init__(self, least: float, most: float) -> None:
        super().__init__(least, most)

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises click.BadParameter."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


PUZZLE_SHARE = NumberRange(0.05, 1.0)
SCORE_SECONDS = NumberRange(0.1, 86_400.0)
PEER_ADDRESS = AddressType(port_min=1)
LISTEN_ADDRESS = AddressType(port_min=0)
