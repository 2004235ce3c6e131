"""What the code of the package never does, read off its source."""

import ast
from pathlib import Path

import pytest

import autopeft

FILES = sorted(Path(autopeft.__file__).parent.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
UNSAFE = {"eval", "exec", "compile", "__import__", "input"}
# Its own pipe to the processes of one trial: made by the worker, inherited, on no network.
PIPES = {"training/rank.py", "training/group.py"}


def nodes(kind):
    return [
        (path, node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, kind)
    ]


def name_of(node):
    """`torch.load` of a call's function; "" where it is no plain name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{name_of(value)}.{name}"
        case _:
            return ""


CALLS = [(path, node, name_of(node.func)) for path, node in nodes(ast.Call)]


def where(path, node):
    return f"{path.relative_to(Path(autopeft.__file__).parent)}:{node.lineno}"


def test_there_is_something_to_read():
    assert len(CALLS) > 5000


def test_no_module_that_unpickles_is_imported():
    found = [
        where(path, node)
        for path, node in nodes(ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
        if name.partition(".")[0] in PICKLES
    ]
    assert found == []


def test_pipes_that_unpickle_are_those_of_one_trial():
    found = {
        str(path.relative_to(Path(autopeft.__file__).parent))
        for path, node in nodes(ast.ImportFrom)
        if (node.module or "").startswith("multiprocessing")
    }
    assert found == PIPES


def test_no_text_becomes_code():
    found = [where(path, node) for path, node, name in CALLS if name in UNSAFE]
    assert found == []


def test_weights_are_read_as_safetensors_or_as_weights_only():
    found = []
    for path, node, name in CALLS:
        if name in ("torch.load", "pandas.read_pickle", "pd.read_pickle"):
            given = {k.arg: k.value for k in node.keywords}
            only = given.get("weights_only")
            if not (isinstance(only, ast.Constant) and only.value is True):
                found.append(where(path, node))
        if name in ("np.load", "numpy.load") and any(
            k.arg == "allow_pickle" for k in node.keywords
        ):
            found.append(where(path, node))
    assert found == []


def test_yaml_is_read_by_the_loader_that_makes_plain_data():
    kinds = [k.value.value for _, node, name in CALLS if name == "YAML" for k in node.keywords]
    assert set(kinds) == {"rt"}, "round-trip, which is what YAML() is too: tags stay tags"
    assert [where(path, node) for path, node, name in CALLS if name.startswith("yaml.load")] == []
    assert not [where(p, n) for p, n in nodes(ast.Import) if "yaml" in [a.name for a in n.names]]


def test_no_shell_is_started():
    found = [
        where(path, node)
        for path, node, name in CALLS
        if name in ("os.system", "os.popen")
        or any(k.arg == "shell" and getattr(k.value, "value", True) for k in node.keywords)
    ]
    assert found == []


def test_sql_is_written_by_the_library_alone():
    """No text is handed to a database but constants: `PRAGMA` of a fixed list, migrations."""
    found = []
    for path, node, name in CALLS:
        last = name.rpartition(".")[2]
        if last not in ("execute", "executemany", "executescript", "text", "exec_driver_sql"):
            continue
        if not node.args or (last == "text" and "store" not in path.parts):
            continue
        match node.args[0]:
            case ast.JoinedStr(values=values) if str(values[0].value).startswith("PRAGMA "):
                continue
            case ast.JoinedStr() | ast.BinOp(op=ast.Add() | ast.Mod()):
                found.append(where(path, node))
            case ast.Call(func=ast.Attribute(attr="format")):
                found.append(where(path, node))
    assert found == []


@pytest.mark.parametrize("name", ["from_pretrained", "load_dataset"])
def test_trust_is_never_given_by_the_code_itself(name):
    found = [
        where(path, node)
        for path, node, called in CALLS
        if called.rpartition(".")[2] == name
        for k in node.keywords
        if k.arg == "trust_remote_code" and isinstance(k.value, ast.Constant) and k.value.value
    ]
    assert found == []
