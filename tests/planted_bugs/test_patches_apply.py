"""Every planted bug still fits the code, and names tests that there are."""

from pathlib import Path

import pytest

from tests.planted_bugs.planting import PATCHES, ROOT, Bug, bugs, copy_tree, git_apply

NAMED = (
    "fence_removed",
    "acknowledged_before_commit",
    "buried_without_compare_and_set",
    "two_resolutions_per_drain",
    "published_outside_the_unit",
    "unwinding_begins_early",
    "business_id_as_identity",
    "unit_split_over_two_transactions",
    "repeated_without_reading_the_receipt",
    "evicted_body_publishes",
    "result_delivered_undecoded",
    "postgres_fence_removed",
    "postgres_fence_by_plain_select",
    "postgres_buried_without_compare_and_set",
    "postgres_outbox_by_skip_locked",
    "postgres_position_before_the_lock",
    "postgres_wait_looks_before_its_commit",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tmp_path_factory.mktemp("copy") / "tree")


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.name)
def test_a_patch_applies_and_its_tests_are_there(bug: Bug, tree: Path) -> None:
    assert git_apply(bug.path, tree, "--check") is None
    assert bug.story and bug.breaks and bug.tests
    for test in bug.tests:
        file, _, name = test.partition("::")
        text = (ROOT / file).read_text()
        if "TestSqlite" in name or "TestPostgres" in name:
            text = "".join(path.read_text() for path in (ROOT / "src/motet/testing/conformance").glob("*.py"))
        assert f"def {name.rpartition('::')[2]}(" in text, f"there is no test {test}"


def test_none_is_missing() -> None:
    assert set(NAMED) <= {bug.name for bug in bugs()}


def test_a_patch_that_does_not_apply_is_told(tmp_path: Path, tree: Path) -> None:
    patch = tmp_path / "old.patch"
    patch.write_text((PATCHES / "fence_removed.patch").read_text().replace("buried = 0", "buried = 7"))
    assert "patch does not apply" in (git_apply(patch, tree, "--check") or "")
