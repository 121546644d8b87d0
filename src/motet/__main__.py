"""`python -m motet`: the command line, for this very interpreter."""

from motet.cli.main import main

if __name__ == "__main__":
    main()
