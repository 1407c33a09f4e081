"""Malformed inputs, made by code: each must end in one of our errors, or do no harm."""

from __future__ import annotations

from malformed import names, raw_content, raw_headers, records, results
from malformed.case import Case

__all__ = ["CASES"]

CASES: tuple[Case, ...] = (
    *raw_headers.CASES,
    *raw_content.CASES,
    *results.CASES,
    *records.CASES,
    *names.CASES,
)
