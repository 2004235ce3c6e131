"""What trials start from: data and model, and what is known of them before anything is trained."""
