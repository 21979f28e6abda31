"""The web page of a queue: the same questions and actions as on the command line, in a browser."""
