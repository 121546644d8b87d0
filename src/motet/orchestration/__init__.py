"""The explicit core: the machine that drives a run, what a flow can do, and the rules of failing and undoing.

Sans-I/O: nothing here touches a store, a clock, a thread or a socket.
"""
