"""What each depth of a frozen encoder knows of a label: probes and their information in bits."""
