"""Asks questions with known readings through the assistant and judges what it did."""
