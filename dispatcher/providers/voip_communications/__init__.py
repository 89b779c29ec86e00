"""The adapter of voip-communications.net, API v2."""
