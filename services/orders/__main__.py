"""`python -m services.orders`: this service as a process of its own."""

import sys

from chassis.process import main
from services.orders.app import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
