"""The demo: a gateway of its own, with agent, platforms and senders all on this machine."""
