"""A whole network on this machine: real peers as processes, watched, disturbed, judged, stopped."""
