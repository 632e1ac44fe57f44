"""The pages about registered methods: docs/methods.md and those in docs/methods/."""
