"""A loader whose samples misbehave as their names say; worker processes import it."""

import os
import signal
import time
from pathlib import Path

import numpy as np


def load(sample, dye, raw_dir="raw"):
    begun = Path(raw_dir) / f"{sample}-{dye}.begun"
    with begun.open("a") as file:
        file.write(f"{os.getpid()}\n")
    n_begun = len(begun.read_text().split())
    if sample == "Dies" or (sample == "DiesOnce" and n_begun == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if sample == "Aborts":
        os.kill(os.getpid(), signal.SIGABRT)
    if sample == "Exits":
        os._exit(7)
    if sample == "Waits":
        time.sleep(3)
    if sample == "Deaf":  # a scheduler that answers none of a worker's questions
        import distributed

        def no_answer(client, *args, **more):
            raise TimeoutError("no answer from the scheduler")

        distributed.Client.sync = no_answer
        time.sleep(1)
    if sample == "Hangs":
        time.sleep(600)
    if sample == "Fails":
        raise ValueError("the scan is empty")
    if sample == "TooLarge":
        raise MemoryError("800 TB")
    pixels = np.random.default_rng(len(dye)).integers(1, 200, (40, 48), np.uint8)
    return pixels, pixels[::-1], None, None
