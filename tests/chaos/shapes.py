"""How each planted bug is provoked, on which store: where its rule matters, and no longer than that needs.

A shape is the options of a campaign. `planted.py` runs them, with and without their bugs.
"""

from __future__ import annotations

from typing import Final

ALWAYS: Final = (
    "--no-failpoints", "--kills", "0", "--pauses", "0", "--others", "1", "--quiet", "45", "--edges", "",
)  # fmt: skip
CALM: Final = "--seconds 6 --runs 200 --faults points"
ROUNDS: Final = CALM + " --kinds rounds"
CROWDED: Final = "--seconds 6 --runs 60 --faults points --kinds careful"
KILLED: Final = "--seconds 12 --runs 300 --kills 10 --faults kills --hurry 5 --kinds race,purchase"
LOCKED: Final = "--seconds 12 --runs 300 --kills 3 --faults kills,locks --hurry 4"
OVERTAKEN: Final = "--seconds 20 --runs 800 --pauses 4 --faults overtaken --hurry 10 --kinds race,purchase,family"
RETURNING: Final = "--seconds 12 --runs 250 --faults returns --hurry 8"
SPLIT: Final = (
    "--seconds 12 --runs 250 --kills 2 --faults points --points 'before AppendEvent' --hurry 4 --batch-rows 1"
)

# ... and the loose edges
DELIVERING: Final = "--seconds 12 --runs 40 --kills 6 --faults kills --hurry 4 --kinds nap --edges facts,bursts"
NIGHTS: Final = "--seconds 14 --runs 40 --faults kills --hurry 0.1 --kinds nap --edges expectations,nights"
WAITING: Final = "--seconds 10 --runs 40 --faults locks --hurry 3 --kinds nap --edges waits --quiet 15"

SQLITE: Final = {
    "acknowledged_before_commit": LOCKED,
    "buried_without_compare_and_set": RETURNING,
    "business_id_as_identity": ROUNDS,
    "cursor_moves_before_the_effect": DELIVERING,
    "fence_removed": OVERTAKEN,
    "index_misses_a_gap": WAITING,
    "missed_by_the_clock": NIGHTS,
    "places_not_counted": CROWDED,
    "published_outside_the_unit": SPLIT,
    "two_resolutions_per_drain": KILLED,
    "unit_split_over_two_transactions": SPLIT,
    "unwinding_begins_early": CALM,
    "wait_looks_before_it_registers": WAITING,
}

# On PostgreSQL
APART: Final = "--seconds 8 --runs 160 --faults slow --hurry 5 --kinds hear --quiet 20"
HELD: Final = "--seconds 10 --runs 80 --others 2 --faults held --hurry 8 --kinds impatient,purchase"
PAUSED: Final = "--seconds 20 --runs 150 --pauses 8 --faults pauses --hurry 6 --kinds impatient"
BACK: Final = "--seconds 14 --runs 40 --others 2 --faults returns --hurry 10 --kinds impatient,purchase"

SLOWLY: Final = "--seconds 8 --runs 160 --kills 6 --faults kills,slow --hurry 6 --kinds purchase,race"
UNTOLD: Final = "--seconds 8 --runs 160 --replies 10 --faults replies --hurry 6 --kinds hear --quiet 20"

POSTGRES: Final = {
    "acknowledged_before_commit": SLOWLY,
    "business_id_as_identity": ROUNDS,
    "postgres_buried_without_compare_and_set": BACK,
    "postgres_fence_by_plain_select": HELD,
    "postgres_fence_removed": PAUSED,
    "postgres_outbox_by_skip_locked": APART,
    "postgres_places_not_counted": CROWDED,
    "postgres_position_before_the_lock": APART,
    "postgres_ticket_ignored": UNTOLD,
    "postgres_wait_looks_before_its_commit": APART,
    "published_outside_the_unit": SPLIT,
    "two_resolutions_per_drain": SLOWLY,
    "unit_split_over_two_transactions": SPLIT,
    "unwinding_begins_early": CALM,
}

SHAPES: Final = {"sqlite": SQLITE, "postgres": POSTGRES}
