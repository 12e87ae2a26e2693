"""SCENARIO.toml, read: each mistake named with its place."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from node.common.errors import MEND_FILE, NodeError, disk_error
from node.lab.scenarios.events import EVENTS, PEERS_MAX
from node.lab.scenarios.scenario import EVENTS_MAX, Faulty, Scenario, Seconds, TimedEvent
from node.rules.typed_toml import TomlProblem, converted, document_of, one_of, wrong_name

SCENARIO_BYTES_MAX = 1 << 20
"""Ten thousand events; whatever is larger is another file."""

Entry = TypeVar("Entry")


def parse_scenario(text: str) -> Scenario:
    """The scenario that the text describes; whether its parts fit together is for `contradictions`. Raises TomlProblem."""
    document = document_of(text)
    events = _entries(document, "event", _timed_event, EVENTS_MAX)
    faulty = _entries(document, "faulty", lambda table: converted(table, Faulty), PEERS_MAX)
    if "events" in document:
        raise TomlProblem("events is not a setting (did you mean [[event]]?)")
    scenario = converted(document, Scenario)
    return msgspec.structs.replace(scenario, events=events, faulty=faulty)


def _entries(
    document: dict[str, object], name: str, read: Callable[[dict[str, object]], Entry], count_max: int
) -> tuple[Entry, ...]:
    """The tables under [[name]], each mistake told with the place of its table. They are taken out of the document."""
    tables = document.pop(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables) or len(tables) > count_max:
        raise TomlProblem(f"{name} is not a list of at most {count_max:,} tables; write each as [[{name}]]")
    entries = []
    for place, table in enumerate(tables, 1):
        try:
            entries.append(read(table))
        except TomlProblem as problem:
            raise TomlProblem(f"[[{name}]] number {place}: {problem}") from problem
    return tuple(entries)


class _When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at_s: Seconds


def _timed_event(table: dict[str, object]) -> TimedEvent:
    """An event and its time, which stand in one table."""
    when = converted({name: table.pop(name) for name in ("at_s",) if name in table}, _When)
    if "kind" not in table:
        raise TomlProblem(f"kind is missing; allowed is {one_of([*EVENTS])}")
    kind = table["kind"]
    if not isinstance(kind, str) or kind not in EVENTS:
        raise TomlProblem(wrong_name("kind", kind, [*EVENTS]))
    return TimedEvent(when.at_s, converted(table, EVENTS[kind]))


def read_scenario(path: Path) -> Scenario:
    """The scenario in a file. Raises NodeError."""
    try:
        if path.stat().st_size > SCENARIO_BYTES_MAX:
            raise NodeError(f"{path} has more than {SCENARIO_BYTES_MAX:,} bytes, so it is not a scenario", "check the path")
        return parse_scenario(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise NodeError(f"{path}: byte {error.start} is not UTF-8 text", MEND_FILE) from error
    except OSError as error:
        raise disk_error("read the scenario", path, error) from error
    except TomlProblem as problem:
        raise NodeError(f"{path}: {problem}", MEND_FILE) from problem
