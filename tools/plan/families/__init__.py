"""How engines take a card's memory, a module a family: what an instance needs, and how seats become a placement."""
