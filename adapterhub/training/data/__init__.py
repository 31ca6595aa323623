"""Files and tables -> training and validation set."""
