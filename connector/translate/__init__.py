"""The message translator: an expense report in, a voucher out, by the mapping book a finance consultant writes. Pure."""

from connector.translate.book import Book, BookRefused, load_book
from connector.translate.reference import make_reference
from connector.translate.voucher import Refusal, to_voucher

__all__ = ["Book", "BookRefused", "Refusal", "load_book", "make_reference", "to_voucher"]
