"""SQL over tables: queries by DuckDB, everything else by the engine, each statement as one commit."""
