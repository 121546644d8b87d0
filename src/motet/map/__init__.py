"""The map: who publishes what and who reacts, as the code declares it and as the log has seen it."""
