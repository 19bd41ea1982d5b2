"""The worker process: does something now and then, and ends properly when it is told to."""

import os
import signal
import sys
import time
from types import FrameType


def stop(number: int, frame: FrameType | None) -> None:
    print("worker stops", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
print(f"worker {os.environ.get('PAAS_PROCESS')} starts", flush=True)
beat = 0
while True:
    beat += 1
    print(f"beat {beat}", flush=True)
    time.sleep(float(os.environ.get("BEAT_S", "10")))
