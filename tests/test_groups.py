"""Every test of the core says what it proves: it carries one of the group markers of pyproject.toml."""

import ast
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GROUPS = {"identities", "oracles", "convergence", "cross_checks", "invariances", "contracts"}

#: Folders whose tests are grouped.
CORE = ("diffusion", "networks", "timegrad", "metrics")
FILES = {
    path.stem.removeprefix("test_"): path
    for folder in CORE
    for path in sorted((HERE / folder).glob("test_*.py"))
}


def markers(expression, aliases):
    """Names of the group markers in a decorator or in what `pytestmark` is set to."""
    if isinstance(expression, ast.Call):
        return markers(expression.func, aliases)
    if isinstance(expression, ast.List | ast.Tuple):
        return [name for part in expression.elts for name in markers(part, aliases)]
    text = ast.unparse(expression)
    name = aliases.get(text, text).removeprefix("pytest.mark.")
    return [name] if name in GROUPS else []


def groups_of_tests(source):
    """Group markers of each test function, those of the whole file included."""
    body = ast.parse(source).body
    named = [node for node in body if isinstance(node, ast.Assign)]
    aliases = {ast.unparse(node.targets[0]): ast.unparse(node.value) for node in named}
    of_file = [
        name
        for node in named
        if ast.unparse(node.targets[0]) == "pytestmark"
        for name in markers(node.value, aliases)
    ]
    return {
        node.name: of_file
        + [name for mark in node.decorator_list for name in markers(mark, aliases)]
        for node in body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_test_has_exactly_one_group(name):
    found = groups_of_tests(FILES[name].read_text())
    assert found
    assert {test: groups for test, groups in found.items() if len(groups) != 1} == {}


def test_every_group_is_registered_with_what_it_proves():
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    lines = project["tool"]["pytest"]["ini_options"]["markers"]
    registered = dict(line.split(": ", 1) for line in lines)
    assert registered.keys() >= GROUPS and all(registered.values())


def test_missing_and_double_markers_are_seen():
    source = """
oracles = pytest.mark.oracles
pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.contracts]

@oracles
@pytest.mark.parametrize("n", [1])
def test_one(n): ...

def test_two(): ...
"""
    assert groups_of_tests(source) == {
        "test_one": ["contracts", "oracles"],
        "test_two": ["contracts"],
    }
    alone = groups_of_tests("@pytest.mark.slow\ndef test_three(): ...")
    assert alone == {"test_three": []}
