"""What methods are given beforehand for one model: lists of heads, and what a fit has left."""
