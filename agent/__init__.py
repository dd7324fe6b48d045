"""The assistant: reads a question, decides which tools to use, grounds and writes the answer."""
