"""Files of answers made elsewhere, matched with the questions that they answer."""
