"""The parts of the chaos bench: real processes, relays between them that do harm, and a count.

Law: nothing here knows how an adapter works. It starts one, hurts it, and counts at the service's side of the
wire.
"""
