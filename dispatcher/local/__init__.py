"""What runs on this machine: the embedded broker, child processes, folders of this user."""
