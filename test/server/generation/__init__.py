"""What models are asked, and what comes of their answers."""
