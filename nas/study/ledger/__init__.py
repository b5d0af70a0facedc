"""Layer 4: what is asked for and what it came to, in a database: queues, slots, trials, and which studies there are."""
