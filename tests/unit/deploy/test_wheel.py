"""The wheel that the image is made of: built by the locked tools alone, with everything the commands read at run time."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.mark.parametrize("package", ["contracts", "connector", "workers"])
def test_every_file_of_a_package_is_in_the_wheel(wheel: zipfile.ZipFile, package: str) -> None:
    names = {name for name in wheel.namelist() if name.startswith(f"{package}/")}
    done = subprocess.run(["git", "ls-files", package], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert set(done.stdout.split()) <= names


def test_nothing_else_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"contracts", "connector", "workers"}


def test_the_licence_and_the_notice_travel_with_it(wheel: zipfile.ZipFile) -> None:
    licences = {Path(name).name for name in wheel.namelist() if "/licenses/" in name}

    assert licences == {"LICENSE", "NOTICE"}


def test_the_image_installs_only_what_is_locked_by_hash() -> None:
    dockerfile = (ROOT / "deploy" / "docker" / "Dockerfile").read_text("utf-8")

    for line in dockerfile.splitlines():
        if "pip install" in line:
            assert "--require-hashes" in line or ("--no-index" in line and "--no-deps" in line)


def test_the_image_runs_as_a_user_without_rights() -> None:
    lines = (ROOT / "deploy" / "docker" / "Dockerfile").read_text("utf-8").splitlines()

    assert "USER 10001:10001" in lines
    assert lines.index("USER 10001:10001") < lines.index('ENTRYPOINT ["oaerp"]')
