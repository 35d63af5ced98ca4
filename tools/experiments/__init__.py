"""Series, searches, comparisons and reports of runs."""
