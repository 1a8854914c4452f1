"""tenon.profiler: what ran, as a table and as a trace that Chrome and Perfetto read."""

import json
import threading

import pytest

import tenon as tn
from tenon.profiler import Limits, profile


def work():
    x = tn.ones(64, 64)
    return (x @ x + 1).exp().sum().item()


def test_events_and_table():
    work()
    with profile(limits=Limits(1e9, 1e9)) as prof:
        work()
    kinds = {event.kind for event in prof.events}
    assert {"kernel", "library", "flush", "record"} <= kinds
    matmul = next(event for event in prof.events if event.name == "matmul")
    assert matmul.operations == 2 * 64**3 and matmul.bytes >= 2 * 64 * 64 * 4
    assert any("test_profiler.py" in line for line in matmul.lines)
    table = prof.key_averages().table(sort_by="bytes", row_limit=2)
    assert len(table.split("\n")) == 4
    assert "limit" in table and "%" in table
    with pytest.raises(ValueError, match="sort_by"):
        prof.table(sort_by="cuda")


def test_plans_and_compilations():
    tn.flush()
    x = tn.ones(7)
    with profile() as prof:
        ((x.atan() * 3.25).cosh() - x.asinh()).sum().item()
    assert any(event.kind == "plan" for event in prof.events)


def test_nothing_is_recorded_outside():
    with profile() as prof:
        pass
    work()
    assert not [event for event in prof.events if event.kind == "kernel"]
    with profile(), pytest.raises(RuntimeError, match="another profile"), profile():
        pass


def test_chrome_trace(tmp_path):
    with profile(limits=Limits(1e9, 1e9)) as prof:
        work()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    path = tmp_path / "trace.json"
    prof.export_chrome_trace(path)
    trace = json.loads(path.read_text())
    events = trace["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    for event in spans:
        assert isinstance(event["name"], str) and isinstance(event["cat"], str)
        assert event["ts"] >= 0 and event["dur"] > 0
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert isinstance(event["args"], dict)
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {event["tid"] for event in spans} <= set(names)
    assert len({event["tid"] for event in spans if event["cat"] == "flush"}) == 2
    assert "main thread" in names.values()
    # Spans of one thread nest, or follow each other: a viewer draws nothing else.
    for tid in names:
        stack = []
        for event in sorted(
            (e for e in spans if e["tid"] == tid), key=lambda e: (e["ts"], -e["dur"])
        ):
            while stack and stack[-1] <= event["ts"]:
                stack.pop()
            end = event["ts"] + event["dur"]
            assert not stack or end <= stack[-1] + 1e-3
            stack.append(end)
    kernels = [event for event in spans if event["cat"] == "kernel"]
    assert all("share of the machine's limit" in event["args"] for event in kernels)
    assert any("test_profiler.py" in line for e in kernels for line in e["args"]["lines"])
