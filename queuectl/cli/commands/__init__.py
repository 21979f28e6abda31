"""The commands, one module per noun: parse the arguments, ask the storage, print the answer."""
