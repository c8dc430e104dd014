"""A model that is declared and not computed: its speed, its answers and its failures."""
