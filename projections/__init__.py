"""What follows from what happened: state, decisions, obligations, findings. Can be deleted and rebuilt from the log."""
