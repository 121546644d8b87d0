"""The loose edges, without I/O and without a clock: who follows the log of events, and by which rules."""
