"""What a reader is shown of an experiment or a run beside the pages: words, recipes, reports as one HTML file."""
