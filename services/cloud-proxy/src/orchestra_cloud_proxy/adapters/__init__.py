"""One file per outside thing; the vendors' SDKs are imported here and nowhere else."""
