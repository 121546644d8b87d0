"""What a workflow's source can do: read into a tree, lit with what a run has done of it, and asked what comes next.

    source ──reader──> nodes ──ways──> what may follow what
                         │                    │
    a run's operations ──places──> marks ──next, lights──> what can come next; done, running, failed, ahead ...

Not here: a run's records (the store has them), and how a plan is shown (`cli/plan*`).
"""
