"""What the folder of a job says about itself."""
