"""One process that trains the GPT in one framework, step by step as it is told, and times it.

    python gpt_worker.py FRAMEWORK OPTIONS

FRAMEWORK is tenon, torch or torch.compile, OPTIONS the fields of `task.Training` as JSON. Writes a
line of JSON at the start and after every line it reads: `steps N` trains on, `held_out` reads the
held-out loss, `memory` the peak so far. A step has ended when its loss has been read.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence


def resident_mb() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def serve(started: dict, step: Callable[[], float], held_out: Callable[[], float]) -> None:
    """Answers commands until the input ends. `step` trains one step and reads its loss."""

    def answer(**values: object) -> None:
        print(json.dumps(values), flush=True)

    answer(**started)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "steps":
            seconds, losses = [], []
            for _ in range(int(arguments[0])):
                begin = time.perf_counter()
                losses.append(step())
                seconds.append(time.perf_counter() - begin)
            answer(seconds=seconds, losses=losses)
        elif command == "held_out":
            answer(loss=held_out())
        elif command == "memory":
            answer(peak_mb=peak_mb())
        else:
            raise SystemExit(f"no such command: {command}")


class Served:
    """The other end of `serve`: a process that answers commands."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.started = self.read()

    def read(self) -> dict:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.name} ended: {self.process.wait()}")
        return json.loads(line)

    def ask(self, command: str) -> dict:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self) -> None:
        self.process.communicate()


def main() -> None:
    name, fields = sys.argv[1], json.loads(sys.argv[2])
    framework = name.split(".")[0]
    before, begin = resident_mb(), time.perf_counter()
    library = __import__(framework)
    import_seconds, import_mb = time.perf_counter() - begin, resident_mb() - before

    from task import Config, Text, Training
    from twin import load

    gpt = load(framework)
    text = Text()
    options = Training(**fields)
    model = gpt.GPT(Config(vocabulary=len(text.alphabet)))
    gpt.initialize(model)
    trained, adamw = model, {}
    if framework == "torch":
        adamw["fused"] = True
    if name == "torch.compile":
        trained = library.compile(model)
    ready_mb = resident_mb()
    steps = gpt.train(trained, text, options, **adamw)

    started = {
        "version": library.__version__,
        "import_seconds": import_seconds,
        "import_mb": import_mb,
        "ready_mb": ready_mb,
    }
    serve(
        started,
        lambda: next(steps).item(),
        lambda: gpt.held_out_loss(model, text, 32),
    )


if __name__ == "__main__":
    main()
