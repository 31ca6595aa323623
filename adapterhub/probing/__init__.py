"""What the depths of an encoder know: probes, their controls, information in bits."""
