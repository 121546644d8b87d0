"""Keeps `pip install motet` small, and proves that what it installs starts: `python -m tools.package_size`.

It exists because dependencies grow by themselves: a release of somebody else's package brings one more along.

Counted: every distribution in a fresh environment after installing the wheel without extras, Motet included,
pip and setuptools not; of each the files that it lists as its own (its RECORD), compiled `.pyc` files not.
1 MB is 1,000,000 bytes.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

from tools.fresh_environment import Package, build_wheel, fresh_environment, unexpected_files

MAX_PACKAGES = 15
MAX_MEGABYTES = 30.0


def complaints(packages: list[Package]) -> list[str]:
    """What is over its limit, in words that name the packages."""
    found: list[str] = []
    if len(packages) > MAX_PACKAGES:
        names = ", ".join(package.name for package in packages)
        found.append(f"{len(packages)} packages, at most {MAX_PACKAGES}: {names}")
    if megabytes(packages) > MAX_MEGABYTES:
        largest = sorted(packages, key=lambda package: package.size_bytes, reverse=True)[:5]
        names = ", ".join(f"{package.name} {package.size_bytes / 1e6:.1f}" for package in largest)
        found.append(f"{megabytes(packages):.1f} MB, at most {MAX_MEGABYTES:.0f}; the largest: {names}")
    return found


def megabytes(packages: list[Package]) -> float:
    """The size of them all in MB."""
    return sum(package.size_bytes for package in packages) / 1e6


def main() -> int:
    """Build, install, measure, start."""
    with tempfile.TemporaryDirectory(prefix="motet-wheel-") as place:
        wheel = build_wheel(Path(place))
        found = [f"the wheel has a file that is no part of it: {name}" for name in unexpected_files(_names(wheel))]
        with fresh_environment(wheel) as environment:
            packages = environment.packages()
            found += complaints(packages)
            environment.run("motet", "--help")
    for complaint in found:
        print(f"package size: {complaint}", file=sys.stderr)
    print(f"{len(packages)} packages, {megabytes(packages):.1f} MB; motet --help runs")
    print("(Motet and all that it brings; pip, setuptools and compiled .pyc files not counted)")
    return 1 if found else 0


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


if __name__ == "__main__":
    sys.exit(main())
