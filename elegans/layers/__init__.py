"""The contract that all families of cells share.

A `Cell` takes steps, a `SequenceLayer` runs it over batches of sequences, `MemoryCell` and
`ElementwiseMapping` stand around it; `backend` chooses the path of execution. `capabilities` says
what else a tool may ask a cell for, `registry` which layers there are.
"""
