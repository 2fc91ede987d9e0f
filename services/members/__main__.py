"""`python -m services.members`: this service as a process of its own."""

import sys

from chassis.process import main
from services.members.app import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
