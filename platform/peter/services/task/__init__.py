"""Tasks: their kind, their labelled users, what there is to know about them."""
