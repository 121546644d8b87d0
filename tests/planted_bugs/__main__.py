"""Plant known bugs, one at a time, and see the tests find them: `python -m tests.planted_bugs [NAME...]` (`make bugs`).

Ends with 1 when a bug survives, when a patch does not apply, or when a named test fails without any bug.
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.planted_bugs.planting import Bug, bugs, copy_tree, git_apply, run_tests

TESTS_FAILED = 1  # pytest's exit code; others say that it could not run them


def plant(bug: Bug, folder: Path) -> dict[str, str]:
    """By test, what came of it: "found", or what went wrong."""
    tree = copy_tree(folder / bug.name)
    complaint = git_apply(bug.path, tree)
    if complaint is not None:
        return {"the patch": f"does not apply: {complaint}"}
    results: dict[str, str] = {}
    for test in bug.tests:
        done = run_tests(tree, test)
        last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()[-200:]
        if done.returncode == TESTS_FAILED:
            results[test] = "found"
        else:
            results[test] = "SURVIVES" if done.returncode == 0 else f"could not be run: {last}"
    return results


def main(names: list[str]) -> int:
    chosen = [bug for bug in bugs() if not names or bug.name in names]
    if unknown := set(names) - {bug.name for bug in chosen}:
        print(f"no such bug: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(2) as pool:
        folder = Path(temporary)
        sound = run_tests(copy_tree(folder / "sound"), *dict.fromkeys(test for bug in chosen for test in bug.tests))
        print(f"without any bug: {sound.stdout.strip().splitlines()[-1]}\n")
        well = sound.returncode == 0
        if not well:
            print(sound.stdout, sound.stderr, file=sys.stderr)
        width = max(len(bug.name) for bug in chosen)
        for bug, results in zip(chosen, pool.map(lambda bug: plant(bug, folder), chosen), strict=True):
            for test, result in results.items():
                print(f"{bug.name:{width}}  {result:8}  {test.rpartition('/')[2]}")
                well = well and result == "found"
    print(f"\n{len(chosen)} bugs planted: {'all found' if well else 'NOT ALL FOUND'}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
