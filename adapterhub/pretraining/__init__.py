"""Trains the shipped backbone: text -> vocabulary -> shards -> checkpoint -> backbone folder."""
