"""The limits of tools/package_size.py are made to fail; the measuring itself runs in `make check`."""

from tools.fresh_environment import Package, unexpected_files
from tools.package_size import MAX_MEGABYTES, MAX_PACKAGES, complaints


def packages(count: int, size_bytes: int = 1000) -> list[Package]:
    return [Package(f"p{number}", "1.0", size_bytes) for number in range(count)]


def test_within_the_limits() -> None:
    assert complaints(packages(MAX_PACKAGES, int(MAX_MEGABYTES * 1e6 / MAX_PACKAGES))) == []


def test_one_package_too_many_is_named() -> None:
    (complaint,) = complaints(packages(MAX_PACKAGES + 1))
    assert complaint.startswith("16 packages, at most 15: p0, p1, ")


def test_too_large_names_the_largest() -> None:
    (complaint,) = complaints([*packages(3), Package("huge", "1.0", 31_000_000)])
    assert complaint.startswith("31.0 MB, at most 30; the largest: huge 31.0, ")


def test_leftovers_of_a_run_are_no_part_of_a_wheel() -> None:
    names = [
        "motet/app.py",
        "motet/_examples/motet.db",
        "motet/__pycache__/app.cpython-311.pyc",
        "motet/py.typed",
    ]
    assert unexpected_files(names) == ["motet/_examples/motet.db", "motet/__pycache__/app.cpython-311.pyc"]
