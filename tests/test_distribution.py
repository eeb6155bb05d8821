"""What is released: version and citation, and a source distribution that builds a wheel."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest
import yaml

from tests.conftest import ROOT

VERSION = configparser.ConfigParser()
VERSION.read(ROOT / "setup.cfg")
VERSION = VERSION["metadata"]["version"]


def test_the_citation_names_the_software_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= citation.keys()
    assert citation["type"] == "software"
    (paper,) = citation["references"]
    assert "2510.21908" in paper["url"]
    assert {"type", "title", "authors", "year"} <= paper.keys()


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+) \((\S+)\)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest.groups() == (VERSION, citation["date-released"])
    assert citation["version"] == VERSION


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with a source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    source, dist = folder / "source", folder / "dist"
    source.mkdir()
    # Of the clone as git knows it: setuptools would write into the clone, and find what lies there.
    files = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(files, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in listed.splitlines():
        path = ROOT / name
        if path.is_symlink() and not name.startswith("plasticity/"):
            continue  # an environment
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            (source / name).symlink_to(path.readlink())
        elif path.is_file():
            shutil.copyfile(path, source / name)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, source]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return dist


@pytest.mark.thorough
def test_the_source_distribution_is_complete(built):
    (archive,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    check = [sys.executable, "-m", "twine", "check", "--strict", archive, wheel]
    assert subprocess.run(check).returncode == 0
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {
        "LICENSE", "README.md", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md", "BUILD_NOTES.md",
        "setup.cfg", "pyproject.toml", "examples/oja.py", "docs/howto/hosts.md",
    } <= names  # fmt: skip
    assert not [name for name in names if name.startswith("tests")]  # which need the clone
    modules = {
        f"{prefix}/{path.relative_to(ROOT / folder)}"
        for folder, prefix in (
            ("plasticity", "plasticity"),
            ("experiments", "plasticity/experiments"),
            ("configs", "plasticity/configs"),
        )
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".jinja", ".typed")
    }
    assert modules <= names
    with zipfile.ZipFile(wheel) as inside:
        installed = set(inside.namelist())
    assert {name for name in installed if ".dist-info/" not in name} == modules
    assert f"plasticity-{VERSION}.dist-info/licenses/LICENSE" in installed


@pytest.mark.thorough
def test_a_program_runs_in_an_environment_with_the_source_distribution_alone(built, tmp_path):
    """What it requires comes from this environment, whose own `plasticity` is not found there."""
    environment, (archive,) = tmp_path / "env", built.glob("*.tar.gz")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", purelib], capture_output=True, text=True).stdout.strip()
    borrowed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    with open(os.path.join(site, "borrowed.pth"), "w") as file:
        file.write("\n".join(borrowed) + "\n")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index"]
    subprocess.run([*install, "--no-deps", "--no-build-isolation", archive], check=True)

    def run(*arguments):
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [python, *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import plasticity; print(plasticity.__file__)"
    assert run("-c", where).startswith(site)
    assert run("-c", "import importlib.metadata as m; print(m.version('plasticity'))") == (
        f"{VERSION}\n"
    )
    listed = run("-m", "plasticity.experiments.launch", "--list")
    assert "hebbian" in listed
    assert "copying" in listed
