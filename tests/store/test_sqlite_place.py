"""Where a store may live, and what is said about other places."""

import errno
import os
import re
from pathlib import Path

import pytest

from motet.errors import ConfigError, StoreMissing, StoreRefused, StoreUnavailable
from motet.model.clock import SYSTEM
from motet.store.open import store_at
from motet.store.sqlite import place
from motet.store.sqlite.connection import unavailable
from motet.store.sqlite.place import check_place, file_system
from motet.testing.conformance.records import a_run
from motet.testing.conformance.setting import a_ticket

MOUNTS = """\
/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
server:/export {base}/nfs nfs4 rw 0 0
//server/share {base}/with\\040space cifs rw 0 0
tmpfs {base}/nfs/local tmpfs rw 0 0
overlay {base}/covered nfs rw 0 0
/dev/vdb {base}/covered xfs rw 0 0
sshfs {base}/far fuse.sshfs rw 0 0
broken line
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for folder in ("nfs/deep", "nfs/local", "nfs2", "with space", "covered", "far", "plain"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "mounts").write_text(MOUNTS.format(base=tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("nfs", "nfs4"),
        ("nfs/deep", "nfs4"),
        ("nfs/local", "tmpfs"),
        ("nfs2", "ext4"),
        ("with space", "cifs"),
        ("covered", "xfs"),
        ("far", "fuse.sshfs"),
        ("plain", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(base: Path, folder: str, kind: str) -> None:
    assert file_system(str(base / folder), str(base / "mounts")) == kind


def test_a_link_is_followed(base: Path) -> None:
    (base / "plain" / "link").symlink_to(base / "nfs")
    assert file_system(str(base / "plain" / "link"), str(base / "mounts")) == "nfs4"


def test_where_the_system_does_not_tell_nothing_is_refused(base: Path) -> None:
    assert file_system(str(base), str(base / "none")) is None
    check_place(str(base / "nfs" / "motet.db"), create=True, mounts=str(base / "none"))


@pytest.mark.parametrize(("folder", "kind"), [("nfs/deep", "nfs4"), ("with space", "cifs"), ("far", "fuse.sshfs")])
def test_network_file_systems_are_refused(base: Path, folder: str, kind: str) -> None:
    path = base / folder / "motet.db"
    with pytest.raises(StoreRefused, match=rf"is on a network file system \({kind}\).*put the store on a local disk"):
        check_place(str(path), create=True, mounts=str(base / "mounts"))
    assert not path.exists()


@pytest.mark.parametrize("folder", ["nfs/local", "covered", "plain"])
def test_local_ones_are_not(base: Path, folder: str) -> None:
    check_place(str(base / folder / "motet.db"), create=True, mounts=str(base / "mounts"))


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def _open(path: Path, *, create: bool = True) -> None:
    store = store_at(f"sqlite:///{path}", SYSTEM)
    await store.open(create=create)
    await store.close()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match=r"there is no folder .*/none for the store; create it, or set MOTET_STORE"):
        await _open(tmp_path / "none" / "motet.db")
    assert names(tmp_path) == []


async def test_a_missing_store_is_not_created_by_who_only_reads(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match="start a worker to create it, or name the right one with --store"):
        await _open(tmp_path / "motet.db", create=False)
    assert names(tmp_path) == []


async def test_an_empty_file_is_no_store_yet(tmp_path: Path) -> None:
    path = tmp_path / "motet.db"
    path.touch()
    with pytest.raises(StoreMissing, match="there is no store at"):
        await _open(path, create=False)
    assert (path.stat().st_size, names(tmp_path)) == (0, ["motet.db"])
    await _open(path)
    await _open(path, create=False)


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="is a folder; name a file in it"):
        await _open(tmp_path)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "cannot be written: .*; give this user the right to write to it and to its folder"),
        (errno.EROFS, "cannot be written: .*; give this user"),
        (errno.ENOLCK, "on a file system that knows no locks .*; put the store on a local disk"),
        (errno.EOPNOTSUPP, "on a file system that knows no locks"),
    ],
)
def test_what_the_system_refuses_is_named(number: int, said: str) -> None:
    error = unavailable("motet.db", OSError(number, os.strerror(number)))
    assert isinstance(error, StoreRefused)
    assert re.search(said, str(error))


def test_what_passes_by_is_waited_for() -> None:
    error = unavailable("motet.db", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert isinstance(error, StoreUnavailable)
    assert "No space left" in str(error)


def test_a_store_in_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="what is only in memory survives nothing; name a file"):
        store_at("sqlite:///:memory:", SYSTEM)


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///", "mysql://x", "motet.db", ""])
def test_an_address_that_nobody_speaks_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"is not understood; write sqlite:///relative\.db"):
        store_at(address, SYSTEM)


def test_an_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(StoreRefused, match=r"Motet needs 3\.37\.0 or later"):
        place.check_program()


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "what?.db", "x#y.db", "ünï.db", "a&b=c.db", "'quoted'.db"])
async def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    await _open(tmp_path / name)
    assert (tmp_path / name).stat().st_size > 0
    await _open(tmp_path / name, create=False)


async def test_one_file_has_one_lock_whatever_links_lead_to_it(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    await _open(real / "motet.db")
    link = tmp_path / "link.db"
    link.symlink_to(real / "motet.db")
    store = store_at(f"sqlite:///{link}", SYSTEM)
    await store.open(create=False)
    await store.commit([[a_run("r")]], a_ticket())
    await store.close()
    assert names(tmp_path) == ["link.db", "real"]
    assert names(real) == ["motet.db", "motet.db-lock"]


async def test_the_folder_may_change_under_a_relative_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_at("sqlite:///motet.db", SYSTEM)
    await store.open(create=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    await store.commit([[a_run("r")]], a_ticket())
    assert await store.run("r") is not None
    await store.close()
    assert names(tmp_path / "elsewhere") == []
