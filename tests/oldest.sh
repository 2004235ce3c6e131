#!/usr/bin/env bash
# The tests that train, on the oldest versions of PEFT, transformers, TRL, accelerate and datasets that
# pyproject.toml admits (tests/oldest.txt); everything else is that of the main environment.
#
#   tests/oldest.sh [a test file or an option of pytest ...]
#
# MAIN: the main environment (.venv, made by `make test`). OLDEST: where the other one is made.
set -euo pipefail
cd "$(dirname "$0")/.."
main=${MAIN:-.venv} oldest=${OLDEST:-.venv-oldest}

if [ ! -e "$oldest/.installed" ] || [ tests/oldest.txt -nt "$oldest/.installed" ]; then
  rm -rf "$oldest"
  "$main/bin/python" -m venv "$oldest"
  packages='import sysconfig; print(sysconfig.get_path("purelib"))'
  echo "import site; site.addsitedir('$("$main/bin/python" -c "$packages")')" \
    >"$("$oldest/bin/python" -c "$packages")/main.pth"
  "$oldest/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --ignore-installed \
    --requirement tests/oldest.txt
  # What they need, and the main environment has not or too new.
  "$oldest/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tests/oldest.txt
  ln -s "$(realpath "$main/bin/ruff")" "$oldest/bin/ruff"
  touch "$oldest/.installed"
fi

# The main environment's versions must not be what is tested.
"$oldest/bin/python" - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

pins = (line.split("==") for line in Path("tests/oldest.txt").read_text().splitlines() if "==" in line)
for name, wanted in pins:
    assert version(name) == wanted, f"{name} {version(name)} is tested instead of {wanted}"
PYTHON

export PYTHONPATH=$PWD OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
if [ $# -eq 0 ]; then
  set -- tests/training tests/tuners tests/allocation tests/export \
    tests/end_to_end/test_tasks.py tests/end_to_end/test_sft.py tests/end_to_end/test_own_trl.py
fi
exec "$oldest/bin/python" -m pytest -n "${TEST_WORKERS:-2}" --dist loadfile -m "not long" "$@"
