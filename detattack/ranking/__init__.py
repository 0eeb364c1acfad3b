"""The JND of a detector: what a ranking measures, how entries are compared, and what tells a masked gradient.

To read it in order: `protocol` (what is measured), `identity` (what a folder was begun with), `classes` (which ones
count), `entry` (the measure of one detector), `probe` and `diagnoses` (whether it can be trusted), `statistics`
(curves, intervals and the order), `board` (the leaderboard).
`workflows/rank.py` carries it out.
"""
