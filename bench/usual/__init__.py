"""The other baseline of `bench.receive`: the view one would write first, on the same database."""
