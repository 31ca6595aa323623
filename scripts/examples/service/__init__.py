"""A customer-service desk in English and Chinese."""
