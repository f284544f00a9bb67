"""Text, wherever it comes from: documents of files, of hub datasets and of mixtures of them."""
