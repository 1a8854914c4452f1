"""Processes that judge one operation at a time, so that a crash or a hang is only a result."""

from __future__ import annotations

import gc
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

Result = dict[str, str]  # by column: "pass", "none" (not applicable), or what is wrong

COLUMNS = (
    *("values", "dtypes", "methods", "in_place", "out", "errors"),
    *("gradient", "second", "forward", "vmap", "fused"),
    *("complex_dtypes", "complex_gradient"),  # last: what fails may leave work pending
)


def judge(name: str, columns: tuple[str, ...], limit: int, report: Callable[..., None]) -> None:
    """Reports ("column", what) of each column of one operation."""
    from tests.opdb import columns as simple
    from tests.opdb import database, derivatives

    op = database.load()[name]
    function = database.counterpart(op)
    for column in columns:
        report("began", column)
        if not database.applies(op, column) or function is None:
            report(column, "missing" if database.applies(op, column) else "none")
            continue
        check = getattr(simple, column, None) or getattr(derivatives, column)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check(op, function, limit)
            report(column, "pass")
        except simple.NotApplicable:
            report(column, "none")
        except Exception as error:
            kind = "" if isinstance(error, simple.Note) else f"{type(error).__name__}: "
            report(column, (kind + str(error))[:400] or kind)
            del error
            gc.collect()  # what failed stays pending as long as frames hold its tensors


def _serve(pipe: Connection) -> None:
    import torch

    torch.set_num_threads(1)
    from tests.opdb import database

    database.load()
    pipe.send(("ready", ""))
    while (task := pipe.recv()) is not None:
        judge(*task, lambda column, what: pipe.send((column, what)))
        pipe.send(("done", ""))


class _Worker:
    def __init__(self, context: Any) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.name = ""
        self.column = ""
        self.since = time.monotonic()
        self.result: Result = {}

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def run(
    names: list[str], columns: tuple[str, ...], limit: int, jobs: int, timeout: float
) -> Iterator[tuple[str, Result]]:
    """The results of operations, as they come. A column takes at most timeout seconds; a process
    that dies or takes longer is replaced, and the columns left are judged by the next."""
    context = multiprocessing.get_context("spawn")
    todo: list[tuple[str, tuple[str, ...], Result]] = [(n, columns, {}) for n in reversed(names)]
    workers = [_Worker(context) for _ in range(min(jobs, len(names)))]

    def start(worker: _Worker) -> None:
        worker.name = ""
        if todo:
            worker.name, left, worker.result = todo.pop()
            worker.column, worker.since = "", time.monotonic()
            worker.pipe.send((worker.name, left, limit))

    while workers:
        wait([w.pipe for w in workers], timeout=1)
        for k, worker in enumerate(list(workers)):
            fault = ""
            try:
                while worker.pipe.poll():
                    column, what = worker.pipe.recv()
                    worker.since = time.monotonic()
                    if column == "began":
                        worker.column = what
                    elif column in ("ready", "done"):
                        if worker.name:
                            yield worker.name, worker.result
                        start(worker)
                    else:
                        worker.result[column] = what
            except (EOFError, ConnectionError):
                fault = "the process died"
            if not fault and worker.column and time.monotonic() - worker.since > timeout:
                fault = f"took more than {timeout:g} seconds"
            if fault:
                worker.stop()
                worker.result[worker.column] = fault
                left = tuple(c for c in columns if c not in worker.result)
                if left and worker.name:
                    todo.append((worker.name, left, worker.result))
                elif worker.name:
                    yield worker.name, worker.result
                workers[k] = _Worker(context)
        for worker in [w for w in workers if not w.name and not todo and w.column]:
            worker.stop()
            workers.remove(worker)
