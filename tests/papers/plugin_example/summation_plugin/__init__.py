"""Papers about adding up."""
