"""Work goes in; what it took comes out while it runs: bars on a terminal, milliseconds by stage, spans of a trace."""
