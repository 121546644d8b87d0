"""The command `motet`: one file per group of commands, over the same verbs that programs use."""
