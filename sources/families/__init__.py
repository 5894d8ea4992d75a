"""What corpora of one kind share: aligned texts, question answering, inference, citations."""
