"""``python -m rldp``."""

from ._cli import main

main()
