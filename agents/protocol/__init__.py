"""The wire between a gateway server and an agent daemon, protocol version 1.

The page `docs/protocol.md` is the specification; this package is its one implementation and imports
neither Django nor anything else of Hetuflow.
"""
