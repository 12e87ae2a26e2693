"""The runs of a comparison, each remembered on disk, so that an interrupted comparison goes on where it was."""

import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from dataclasses import Field


class Cell(Protocol):
    """One run, a frozen dataclass of values that JSON holds."""

    __dataclass_fields__: ClassVar[dict[str, "Field[Any]"]]

    @property
    def key(self) -> str:
        """Names the file of its result."""
        ...


C = TypeVar("C", bound=Cell)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Study(Generic[C, R]):
    """How a kind of cells is run. `run`: a function of a module, for other processes to call."""

    run: Callable[[C], R]
    result_type: type[R]
    """A dataclass."""
    line: Callable[[C, R], str]
    """For people, once a cell has run."""

    def results(self, cells: Sequence[C], remembered: Path, processes: int, tell: Callable[[str], None]) -> dict[C, R]:
        """Those of all cells, those remembered in the folder without running them again; each new one is remembered at once."""
        remembered.mkdir(parents=True, exist_ok=True)
        wanted = tuple(dict.fromkeys(cells))
        results = {cell: result for cell in wanted if (result := self._recall(cell, remembered)) is not None}
        missing = [cell for cell in wanted if cell not in results]
        tell(f"{len(wanted)} runs, {len(results)} of them remembered")
        if not missing:
            return results
        with one_thread_processes(processes) as pool:
            futures: dict[Future[R], C] = {pool.submit(self.run, cell): cell for cell in missing}
            try:
                for future in as_completed(futures):
                    cell = futures[future]
                    results[cell] = future.result()
                    self._remember(cell, results[cell], remembered)
                    tell(f"{len(results)}/{len(wanted)} {self.line(cell, results[cell])}")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return results

    def _recall(self, cell: C, remembered: Path) -> R | None:
        path = remembered / f"{cell.key}.json"
        if not path.exists():
            return None
        return msgspec.convert(json.loads(path.read_text())["result"], self.result_type)

    def _remember(self, cell: C, result: R, remembered: Path) -> None:
        path = remembered / f"{cell.key}.json"
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps({"cell": asdict(cell), "result": msgspec.to_builtins(result)}, indent=1))
        unfinished.replace(path)


def one_thread_processes(count: int) -> ProcessPoolExecutor:
    """Processes that compute on one core each: BLAS and torch would start as many threads as there are cores in each."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read once, when a library is loaded: by new processes, not by ours
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
