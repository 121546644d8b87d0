"""Where a verb must not be called: refused at once, with the way out, instead of done twice or waiting for ever."""

from __future__ import annotations

from motet.errors import PublishInWorkflow, WrongPlace
from motet.model.cause import own_transaction
from motet.orchestration.definitions import in_workflow_body


def refuse_in_body(verb: str, instead: str) -> None:
    """Raises PublishInWorkflow."""
    if in_workflow_body():
        raise PublishInWorkflow(f"app.{verb} inside a workflow body would be done again in replay; use {instead}")


def refuse_in_transaction(verb: str, store: str, instead: str) -> None:
    """What waits for the store's next writing would wait for the very transaction that it is called in.

    Args:
        store: the store's address; another store may be written.

    Raises:
        WrongPlace.
    """
    inside = own_transaction.get()
    if inside is not None and inside.store == store:
        raise WrongPlace(
            f"app.{verb} in {inside.name}, which has a transaction of its own: nothing else is "
            f"written before that ends, so it would wait for itself; {instead}"
        )
