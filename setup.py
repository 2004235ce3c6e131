"""The wheel: `dashboards/`, which stands beside the package, goes into it.

All else is in pyproject.toml. A checkout (also an editable one) is read where it lies: see
`autopeft.report.page.assets`.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithDashboards(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "autopeft", "dashboards")
            shutil.copytree("dashboards", target, dirs_exist_ok=True)


setup(cmdclass={"build_py": WithDashboards})
