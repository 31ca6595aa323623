"""What trains beside a head: layers of PEFT, copies of blocks, or a whole encoder."""
