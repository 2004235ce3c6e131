"""What a study asks for beside its task's metrics: cost, judges, a harness, its own."""
