"""How the problems draw: streams of random numbers that cannot meet."""

# Streams of one seed. None is 0: numpy takes [seed, 0] for seed itself, and a user's generator of that seed would know the truth.
TRUTH, UNLABELLED, LABELLED, TESTED = 101, 102, 103, 104

MONTE_CARLO = 200_000  # rows for risks without a closed form
