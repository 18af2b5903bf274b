"""``python -m namesae`` is ``namesae``."""

from namesae.cli import main

main()
