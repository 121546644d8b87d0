"""The loose edges in the campaign: what its workers declare of them, who publishes and steers, and what must hold."""
