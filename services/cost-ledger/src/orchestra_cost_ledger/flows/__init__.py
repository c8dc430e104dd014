"""What the ledger does, as short stories over its store."""
