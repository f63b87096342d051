"""Task kinds of our own: each public module is one."""
