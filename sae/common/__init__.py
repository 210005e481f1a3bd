"""What every package may use: errors for people, safe files, progress, devices. Knows nobody."""
