"""The cache service: sample sets of independent draws, replay records, single-flight leases."""
