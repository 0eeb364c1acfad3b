"""The run folder (manifest, ledger, records), and what drives a data set through an attack into it."""
