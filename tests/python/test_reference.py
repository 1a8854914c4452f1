"""The reference: a page an operation, complete, with an example that is true."""

import re
import subprocess
import sys

import pytest

import tenon as tn
from tenon import reference
from tests.spec_cases import load_cases


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    run = subprocess.run(
        [sys.executable, "-m", "tenon.reference", str(folder)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(r"\d+ operations -> .*index\.md\n", run.stdout)
    return folder


def test_every_operation_has_a_page_with_every_part(pages):
    index = (pages / "index.md").read_text()
    cases = load_cases()
    assert len({case["key"] for case in cases}) == len(list(pages.glob("*/*.md")))
    for case in cases:
        (path,) = pages.glob(f"*/{case['key']}.md")
        assert f"({path.parent.name}/{path.name})" in index
        sections = re.split(r"^## (\w+)\n\n", path.read_text(), flags=re.MULTILINE)
        assert tuple(sections[1::2]) == reference.PARTS, case["key"]
        assert all(len(text.strip()) > 3 for text in sections[2::2]), case["key"]
        title, signature, described = sections[0].split("\n\n")[:3]
        assert title == f"# {case['key']}"
        assert signature.strip().startswith(f"{case['name']}(") and len(described) > 4


def test_the_names_on_a_page_exist(pages):
    for path in pages.glob("*/*.md"):
        called = re.search(r"^Called as (.*)\.$", path.read_text(), flags=re.MULTILINE)
        for name in re.findall(r"`tenon\.([\w.]+)`", called.group(1) if called else ""):
            found = tn
            for part in name.split("."):
                found = getattr(found, part)
            assert callable(found), name


def test_pytorchs_pages_are_of_names_that_pytorch_has(pages):
    torch = pytest.importorskip("torch")
    for path in pages.glob("*/*.md"):
        link = re.search(r"(?:generated/|#)torch\.([\w.]+?)(?:\.html)?\.$", path.read_text(), re.M)
        found = torch
        for part in link.group(1).split(".") if link else ():
            found = getattr(found, part, None)
        assert found is not None, link.group(0)


def test_an_example_that_is_not_true_is_an_error():
    entry = dict(reference.entries()[0], gives="tensor([12345.])")
    with pytest.raises(RuntimeError, match=f"{entry['key']}: its example gives something else"):
        reference.page(entry)
