"""`python -m agentid` is the `agentid` command."""

from agentid.cli import main

if __name__ == "__main__":
    main()
