"""ScienceQA: multiple choice with and without images."""
