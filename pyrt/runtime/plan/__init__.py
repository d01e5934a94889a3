"""Plans: a spec and the machine's facts become a flat list of ops, which is encoded for the executor or explained to people."""
