"""The main screen: its layout and keys in ``screen``; beside it the parts it is made of, each with one job."""
