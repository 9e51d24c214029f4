"""What runs: Celery workers with the batch step, the relay, the gateway and the command line. The only place that knows Celery."""
