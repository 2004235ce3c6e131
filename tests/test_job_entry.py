"""Client and cluster compare versions before anything else; the cluster may have no autopeft."""

import json
import shutil
import subprocess
import sys

import pytest

from autopeft import job_entry

HERE = job_entry.versions()


@pytest.fixture
def sent(tmp_path):
    """sent(client, cluster): what `entry.py` says where that autopeft is the one that is there."""

    def sent(client, cluster):
        shutil.copy(job_entry.__file__, tmp_path / "entry.py")
        (tmp_path / "request.json").write_text(json.dumps({"versions": {**HERE, **client}}))
        there = tmp_path / "there" / "autopeft"
        there.mkdir(parents=True)
        (there / "__init__.py").write_text(cluster)
        (there / "submitted.py").write_text("print('searches')")
        return subprocess.run(
            [sys.executable, "-P", "entry.py"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(there.parent)},
            capture_output=True,
            text=True,
        )

    return sent


def test_the_same_versions_go_on_to_the_cluster_s_autopeft(sent):
    done = sent({"autopeft": "0.1.0"}, "__version__ = '0.1.9'")
    assert (done.returncode, done.stdout, done.stderr) == (0, "searches\n", "")


@pytest.mark.parametrize(
    ("client", "cluster", "said"),
    [
        ({"autopeft": "0.2.0"}, "__version__ = '0.1.0'", "has autopeft 0.2.0, the cluster has 0.1"),
        ({"autopeft": "0.2.0"}, "raise ImportError", "autopeft 0.2.0, the cluster has none"),
        ({"autopeft": "0.1.0", "ray": "1.9.0"}, "__version__ = '0.1.0'", "has ray 1.9.0, the clu"),
    ],
)
def test_versions_that_cannot_work_together_are_both_named(sent, client, cluster, said):
    done = sent(client, cluster)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert sys.executable in done.stderr  # which Python it is that lacks them


def test_another_peft_or_python_is_told_and_no_reason_to_stop(sent):
    there = HERE["peft"]
    done = sent({"autopeft": "0.1.0", "peft": "0.3.0"}, "__version__ = '0.1.0'")
    assert (done.returncode, done.stdout) == (0, "searches\n")
    assert done.stderr == f"versions differ: peft 0.3.0 here, {there} there\n"
