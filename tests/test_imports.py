"""The import contracts hold, and a planted violation breaks them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = Path(sys.executable).parent / "lint-imports"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT), "--no-cache"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("store/__init__.py", "import autopeft.search", "Imports run one way"),
        ("domain/pareto.py", "import torch", "The domain imports no framework"),
        ("training/__init__.py", "import ray", "ray in the orchestrator alone"),
        ("report/__init__.py", "import mlflow", "mlflow in tracking alone"),
    ],
)
def test_a_planted_violation_breaks_its_contract(tmp_path, module, line, contract):
    shutil.copytree(ROOT / "autopeft", tmp_path / "autopeft")
    shutil.copy(ROOT / ".importlinter", tmp_path)
    target = tmp_path / "autopeft" / module
    target.write_text(target.read_text() + f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout


def test_the_package_keeps_every_contract():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_importing_the_package_and_its_command_line_loads_no_framework():
    code = (
        "import sys, autopeft, autopeft.cli; "
        "heavy = {'torch', 'transformers', 'peft', 'ray', 'mlflow', 'optuna', 'botorch'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
