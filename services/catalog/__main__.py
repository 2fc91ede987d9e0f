"""`python -m services.catalog`: this service as a process of its own."""

import sys

from chassis.process import main
from services.catalog.app import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
