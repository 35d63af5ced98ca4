"""What `asr_eval.py` consists of: recognisers, transcripts, error rates."""
