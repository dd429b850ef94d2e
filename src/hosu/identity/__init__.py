"""Who may do what: users, groups, policies, keys, sessions, and the one decision function of every protocol."""
