"""Make corpora of two speakers in noise and rooms, laid out as PolSESS.

`tools/make_corpus.py` is the command line; README.md beside it tells how the
modules work together.
"""
