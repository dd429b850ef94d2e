"""Moving another store's objects, users and rules into a lake, and proving that all of it arrived."""
