"""Cases that break every rule, to see that the runner notices."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from malformed.case import Case, Place, Told

__all__ = ["CASES"]


def _hangs(_: Place) -> Told:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(600)
    return "refused", ""


def _sleeps(_: Place) -> Told:
    time.sleep(600)
    return "refused", ""


def _dies(_: Place) -> Told:
    os.kill(os.getpid(), signal.SIGSEGV)
    return "refused", ""


def _takes_memory(_: Place) -> Told:
    return "refused", str(np.ones(1 << 28).sum())


def _writes_elsewhere(place: Place) -> Told:
    (place.folder.parent / "elsewhere").write_text("here I am")
    return "refused", ""


def _breaks(_: Place) -> Told:
    raise KeyError("NAXIS3")


CASES = [
    Case("broken", use.__name__[1:].replace("_", " "), lambda place: None, use)
    for use in (_hangs, _sleeps, _dies, _takes_memory, _writes_elsewhere, _breaks)
]
