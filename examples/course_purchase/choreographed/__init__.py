"""The choreographed style: four services on one store, and nobody who owns the sequence.

Each is a process of its own, with an app of its own, and knows events, never other services: billing does not know who
enrolls, enrollment does not know who refunds. What is asked of the participants is the same as in the other styles.
"""
