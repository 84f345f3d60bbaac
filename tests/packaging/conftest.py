"""The built distribution, installed into an environment of its own.

The wheel is built from the unpacked sdist, as `python -m build` does, so a file that the sdist lacks is missing from the
wheel, too. The environment sees the dependencies of the test environment through a .pth file. Python does not process the
.pth files of a directory that was added that way, so the editable installation of the source tree stays invisible.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent.parent
PATIENCE: Final = 110.0
"""The longest that one command may take, in seconds; far more than it takes on a busy machine."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment that has the wheel, and a folder outside the source tree to run commands in."""

    python: Path
    site_packages: Path
    folder: Path

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command outside the source tree, without the settings that would lead back into it."""
        paths = {"PYTHONPATH", "MYPYPATH", "VIRTUAL_ENV"}
        variables = {name: value for name, value in os.environ.items() if name not in paths}
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**variables, "PYTHONUTF8": "1"},
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )

    def output_of(self, *command: str | Path) -> str:
        """Run a command that must succeed, and return what it prints."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def build(target: str, source: Path, folder: Path) -> Path:
    """Build an sdist or a wheel, and return the file."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder],
        cwd=source,
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked."""
    file = build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return unpacked


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", sdist, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=False, symlinks=os.name != "nt")
    scheme = {"base": str(root), "platbase": str(root)}
    python = Path(sysconfig.get_path("scripts", "venv", scheme)) / ("python.exe" if os.name == "nt" else "python")
    site_packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    dependencies = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    (site_packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in dependencies), "utf-8")
    return Environment(python, site_packages, tmp_path_factory.mktemp("elsewhere"))
