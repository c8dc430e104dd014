"""What an attempt costs, and the durable spool that loses none of it. Shared by router, cloud-proxy and
ledger.
"""

from orchestra_accounting.journal import JournalLocked
from orchestra_accounting.local import cost_of_local
from orchestra_accounting.price_book import ANY_MODEL, PriceBook
from orchestra_accounting.price_feed import PriceFeed
from orchestra_accounting.shipper import LedgerShipper
from orchestra_accounting.spool import Batch, Spool, SpoolFull
from orchestra_accounting.tokens import cost_of_tokens, price_at_length, worst_case

__all__ = [
    "ANY_MODEL",
    "Batch",
    "JournalLocked",
    "LedgerShipper",
    "PriceBook",
    "PriceFeed",
    "Spool",
    "SpoolFull",
    "cost_of_local",
    "cost_of_tokens",
    "price_at_length",
    "worst_case",
]
