"""The cost of imports. The arguments are the task and the modules; nothing else is imported before them."""

import sys
import time

before, began = time.process_time(), time.perf_counter()
for module in sys.argv[2:]:
    __import__(module)
seconds, rate = time.process_time() - before, 1 / (time.perf_counter() - began)
print(f'{{"value": {seconds}, "system": 0, "rate": {rate}}}')
