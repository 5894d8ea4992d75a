"""The card of a packed data set, made from the counts alone: README.md for people and the Hugging Face hub, croissant.json for
machines."""
