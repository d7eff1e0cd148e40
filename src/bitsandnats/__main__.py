"""`python -m bitsandnats`."""

from bitsandnats.cli import main

if __name__ == "__main__":
    main()
