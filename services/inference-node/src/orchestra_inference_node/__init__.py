"""One GPU host: its devices, its engines, and a worker process per loaded model."""
