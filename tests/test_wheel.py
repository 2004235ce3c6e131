"""What people look at is part of the wheel, though its folder stands beside the package."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_the_dashboards(tmp_path):
    source, built = tmp_path / "source", tmp_path / "built"
    for name in ("autopeft", "dashboards"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(built)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    wanted = {path.relative_to(ROOT) for path in (ROOT / "dashboards").rglob("*") if path.is_file()}
    found = {path.relative_to(built / "autopeft") for path in built.rglob("dashboards/**/*.*")}
    assert found == wanted
    code = "from autopeft.report.page import assets; print(assets())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(built), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert Path(done.stdout.strip()) == built / "autopeft" / "dashboards"
