"""From a name, a folder or a (model, processor) pair to a model that is ready to use."""
