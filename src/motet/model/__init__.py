"""Pure data and rules: runs, steps, events, policies, the codec, the clock. No I/O but the clock's."""
