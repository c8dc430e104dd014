"""The cloud-proxy: vendors behind one stream, inside their limits, with keys that nobody sees."""
