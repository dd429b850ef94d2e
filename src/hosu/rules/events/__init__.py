"""Events: which buckets tell whom of what, in which words, and how it is seen to that they hear of it."""
