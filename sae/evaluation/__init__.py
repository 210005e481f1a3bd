"""What a trained SAE is worth. Takes arrays and tables, not folders. Importing it does not import torch."""
