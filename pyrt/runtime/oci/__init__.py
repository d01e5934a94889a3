"""The life of a container as the OCI runtime specification draws it: create, start, kill, delete, and what goes
between.

State is a directory a container below a root directory; status is never stored, but found out from the kernel each
time.
"""
