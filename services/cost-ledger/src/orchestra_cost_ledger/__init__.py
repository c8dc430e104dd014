"""Every cent: prices, reservations, usage, budgets, tenants' keys and reports, in integer nano-dollars."""
