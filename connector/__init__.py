"""The connector library: from a change in one system to its effect in the other, exactly once. Knows no Celery, starts no process."""
