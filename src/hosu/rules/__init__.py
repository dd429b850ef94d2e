"""What keeps a lake healthy by itself: lifecycle, capacity, retention, protection, scrubbing, events and alerts."""
