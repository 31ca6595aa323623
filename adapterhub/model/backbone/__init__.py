"""Folder or Hub name -> checked weights, tokenizer, identity, device."""
