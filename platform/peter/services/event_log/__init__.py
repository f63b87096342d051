"""Event logs: brought in with what is known of their items, and who knows how much of them."""
