"""The protocols: one process per port, each a translator between a wire and the engines."""
