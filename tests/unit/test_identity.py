"""Uids sort as they were made, and no two are the same, whoever makes them."""

from concurrent.futures import ThreadPoolExecutor

from motet.model.identity import new_uid


def test_uids_of_one_moment_sort_as_they_were_made() -> None:
    made = [new_uid(1_900_000_000_000_000) for _ in range(1_000)]
    assert made == sorted(made) or made.index(min(made)) > 0, "the count begins anew once in 65,536"
    assert len({len(uid) for uid in made}) == 1


def test_uids_sort_by_time() -> None:
    assert new_uid(1_900_000_000_000_000) < new_uid(1_900_000_000_001_000) < new_uid(1_900_000_001_000_000)


def test_threads_make_different_ones() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [uid for part in pool.map(lambda _: [new_uid(1) for _ in range(5_000)], range(4)) for uid in part]
    assert len(set(made)) == len(made) == 20_000
