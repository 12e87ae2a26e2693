"""Faults as a person names them on a command line: checked, with an error that says what to do."""

from node.common.errors import NodeError
from node.lab.faults.catalogue import FaultError, check_fits, parse_faults
from node.rules.network_rules import Consensus, Learning


def canonical_fault(text: str) -> str:
    """The faults with all their parameters, joined by +. Raises NodeError when there is none of a name."""
    try:
        return "+".join(str(spec) for spec in parse_faults(text))
    except FaultError as error:
        raise NodeError(f"--fault: {error}", "choose one that there is") from error


def check_fault(text: str, consensus: Consensus, learning: Learning, fix: str) -> None:
    """Raises NodeError, with this advice, where a network of these kinds has nothing that one of the faults could bend."""
    for spec in parse_faults(text):
        try:
            check_fits(spec, consensus, learning)
        except FaultError as error:
            raise NodeError(str(error), fix) from error
