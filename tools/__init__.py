"""What the assistant can do. The maths modules here import no LangChain and no network."""
