"""`python -m anyjepa`."""

from anyjepa.cli import main

if __name__ == "__main__":
    main()
