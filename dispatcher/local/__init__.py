"""What runs on this machine: the embedded broker, child processes, and the program's folders."""
