"""Growth rules, the legality of edits, and the exchange of cut weights for new ones."""
