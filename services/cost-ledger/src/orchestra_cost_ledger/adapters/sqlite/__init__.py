"""The ledger on SQLite: WAL, synchronous FULL, one writer thread that commits many calls at once."""
