"""The OCI runtime spec: reading, checking, defaults, and how a run request becomes one."""
