"""What a message says of remembered hardware and preferences, and what a turn takes from memory."""
