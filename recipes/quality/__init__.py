"""Quality of heads and adapters beside TF-IDF and full fine-tuning, on a folder of data sets."""
