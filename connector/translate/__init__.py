"""The message translator: an expense report in, a voucher out, by the mapping book a finance consultant writes. Pure."""

from connector.translate.book import Book
from connector.translate.reader import load_book
from connector.translate.reference import make_reference
from connector.translate.tables import BookRefused
from connector.translate.voucher import Refusal, to_voucher

__all__ = ["Book", "BookRefused", "Refusal", "load_book", "make_reference", "to_voucher"]
