"""What Motet costs: `python -m benchmarks` (or `make bench`).

Each benchmark is one file with a `TITLE` and two functions: `measure(frame)` returns numbers, `show(found)` says
them. What must not share a process with anything else is a *probe*: an async function in the same file,
run in a fresh interpreter on a fresh store by `frame.probe`.
"""
