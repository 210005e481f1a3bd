"""What features are: statistics, examples, pairs, maps, frontiers. Takes arrays and tables, not folders."""
