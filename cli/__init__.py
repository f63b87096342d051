"""The command line: parse, call one service, print. One file a noun."""
