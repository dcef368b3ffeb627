"""Everything between an event or a socket and a model: requests, routes, event sources, the local server."""
