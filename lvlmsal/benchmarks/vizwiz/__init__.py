"""VizWiz: questions of blind people."""
