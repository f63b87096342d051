"""What becomes of versions later: moved to another backbone, fitted again without a user."""
