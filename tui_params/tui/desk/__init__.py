"""Everything between the screens and a source: questions, answers, and the worker that reads."""
