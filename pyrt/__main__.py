"""`python -m pyrt`."""

from pyrt.cli.main import main

if __name__ == "__main__":
    main()
