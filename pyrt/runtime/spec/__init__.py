"""OCI configurations: reading, checking, defaults. No file here touches more of the system than it is asked to read."""
