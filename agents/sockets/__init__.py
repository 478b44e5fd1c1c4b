"""Agents that come by themselves: one WebSocket each, and requests that wait for a delivery."""
