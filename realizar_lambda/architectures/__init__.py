"""Model families: each file turns a model file's tensors into a program. Families know no events and no text."""
