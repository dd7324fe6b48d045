"""Other calculators on the rows that Rigfit is measured on; ``scripts/compare_peers.py`` runs it all."""
